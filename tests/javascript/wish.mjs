// What the arena's page tells of the way that its player wants to go.
//
// Standard input: [[ms, what, ...]...]; what is "want" with x and y, "forgotten", or
// "take". Standard output: what was told at each "take", and whether something is left.

import { readFileSync } from "node:fs";
import { Wish } from "../../vinom/web/static/boards/arena_wish.js";

const wish = new Wish();
const told = [];
for (const [now, what, ...data] of JSON.parse(readFileSync(0, "utf8"))) {
  if (what === "want") wish.want(data[0], data[1]);
  else if (what === "forgotten") wish.forgotten();
  else told.push([wish.take(now), wish.isUntold]);
}
process.stdout.write(JSON.stringify(told));
