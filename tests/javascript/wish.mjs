// When the arena's board sends the direction that its player wants.
//
// Standard input: [[ms, what, ...]...]; what is "want" with x and y, "forgotten", or
// "take". Standard output: the direction sent at each "take", and whether one is left to send.

import { readFileSync } from "node:fs";
import { Wish } from "../../vinom/node/web/static/boards/arena_wish.js";

const wish = new Wish();
const sent = [];
for (const [now, what, ...data] of JSON.parse(readFileSync(0, "utf8"))) {
  if (what === "want") wish.want(data[0], data[1]);
  else if (what === "forgotten") wish.forgotten();
  else sent.push([wish.take(now), wish.isUnsent]);
}
process.stdout.write(JSON.stringify(sent));
