// The arena board's prediction of the player's own figure, alone.
//
// Standard input: {field, rules: {body, ticks: [[action...]...]}, network: [[ms, kind, ...]...]};
// a kind is "acted" with an action, "state" with a tick and a player, or "frame".
// Standard output: {rules: [[x, y, vx, vy, dash, rest]...], shown: [[x, y]...]}, of each tick
// and of each frame.

import { readFileSync } from "node:fs";
import { Own, heed, move } from "../../vinom/node/web/static/boards/arena_own.js";

const { field, rules, network } = JSON.parse(readFileSync(0, "utf8"));
let { body } = rules;
const moved = rules.ticks.map((actions) => {
  for (const action of actions) body = heed(field, body, action);
  body = move(field, body);
  return [body.x, body.y, body.vx, body.vy, body.dash, body.rest];
});
const own = new Own(field);
const shown = [];
for (const [now, kind, ...data] of network) {
  if (kind === "acted") own.acted(data[0], now);
  else if (kind === "state") own.update(data[0], data[1], true, now);
  else {
    const place = own.at(now);
    shown.push(place && [place.x, place.y]);
  }
}
process.stdout.write(JSON.stringify({ rules: moved, shown }));
