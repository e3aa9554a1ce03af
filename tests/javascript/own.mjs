// The arena board's prediction of the player's own figure, alone.
//
// Standard input: {field, rules: {body, ticks: [[action...]...]}, network: [[ms, kind, ...]...]};
// a kind is "acted" with an action and its number, "state" with a tick, a player and the
// number of the latest action that it answers, or "frame".
// Standard output: {rules: [[x, y, vx, vy, dash, rest]...], shown: [[x, y]...]}, of each tick
// and of each frame.

import { readFileSync } from "node:fs";
import { bodyOf, heed, move, predictOwn } from "../../vinom/node/web/static/boards/arena_own.js";
import { TickClock } from "../../vinom/node/web/static/boards/motion.js";

const { field, rules, network } = JSON.parse(readFileSync(0, "utf8"));
let { body } = rules;
const moved = rules.ticks.map((actions) => {
  for (const action of actions) body = heed(field, body, action);
  body = move(field, body);
  return [body.x, body.y, body.vx, body.vy, body.dash, body.rest];
});
const clock = new TickClock(field.tick_hz);
const own = predictOwn(field, clock);
const shown = [];
for (const [now, kind, ...data] of network) {
  if (kind === "acted") own.act(data[0], data[1], now);
  else if (kind === "state") {
    const [tick, player, acked] = data;
    clock.arrived(tick, now);
    own.confirm(tick, bodyOf(player), acked, now);
  } else {
    const place = own.at(now);
    shown.push(place && [place.x, place.y]);
  }
}
process.stdout.write(JSON.stringify({ rules: moved, shown }));
