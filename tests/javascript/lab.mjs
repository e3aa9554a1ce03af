// A lab of the manual, alone: what its board does with what a page receives.
//
// Standard input: {lab, setup, events: [[ms, kind, ...]...]}; a kind is "state" with a tick, a
// view and the number of the latest action that it answers, "move" with a way, "frame", or
// "aim": shoot at what is drawn first.
// Standard output: {frames: [[the rows' values...]...], acted: [[ms, action, tick]...]}.

import { readFileSync } from "node:fs";
import "./site.mjs";

const { lab, setup, events } = JSON.parse(readFileSync(0, "utf8"));
const { play } = await import(`../../docs/labs/${lab}.js`);
let time = 0;
const heard = [];
const acted = [];
const room = {
  seat: 0,
  setup,
  view: null,
  tick: 0,
  acked: 0,
  acted: 0,
  receivedAt: 0,
  on: (_, call) => heard.push(call),
  act(action, tick = room.tick) {
    room.acted += 1;
    acted.push([time, action, Math.round(tick)]);
  },
};
const board = play(room);
const frames = [];
for (const [now, kind, ...data] of events) {
  time = now;
  if (kind === "state") {
    const [tick, view, acked] = data;
    Object.assign(room, { tick, view, acked, receivedAt: now });
    for (const call of heard) call();
  } else if (kind === "move") board.move(data[0], now);
  else if (kind === "aim") board.shoot(Object.values(board.rows(now))[0], now);
  else frames.push([...Object.values(board.rows(now)), board.tickAt?.(now)]);
}
process.stdout.write(JSON.stringify({ frames, acted }));
