// Makes the steps of a game's twin in JavaScript: `vinom check GAME --twin FILE`.
//
// Arguments: the twin's path, and the folder of the site. Standard input: a line of JSON for
// each tick, {state, inputs, n, setup}. Standard output: for each line what `step` returned.

import { register } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [path, site] = process.argv.slice(2);
// A board imports motion.js and its like by their address on the site.
const hook = `export const resolve = (name, context, next) =>
  next(name.startsWith("/boards/") ? ${JSON.stringify(pathToFileURL(site).href)} + name : name, context);`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);
const { step } = await import(pathToFileURL(path).href);
if (typeof step !== "function") throw new Error("it exports no function step(state, inputs, n, setup)");
for await (const line of createInterface({ input: process.stdin })) {
  const { state, inputs, n, setup } = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(step(state, inputs, n, setup)) ?? "null"}\n`);
}
