// Lets Node import what the page imports by its address on the site: "/boards/parts.js".

import { register } from "node:module";

const site = new URL("../../vinom/node/web/static", import.meta.url);
register(
  `data:text/javascript,${encodeURIComponent(`
    export const resolve = (name, context, next) => next(name.startsWith("/boards/") ? ${JSON.stringify(String(site))} + name : name, context);
  `)}`,
);
