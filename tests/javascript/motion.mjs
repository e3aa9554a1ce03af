// motion.js, alone, with what a page received.
//
// Standard input: {hz, events: [[ms, kind, ...]...]}; a kind is "state" with a tick, others, a
// body and the number of the latest action that it answers, "acted" with an input and its
// number, or "frame". A body is {x, y, dx}: it moves by dx per tick, and an input sets dx.
// Standard output: of each frame [tick, others, own tick, body].

import { readFileSync } from "node:fs";
import { Interpolator, Predictor, TickClock } from "../../vinom/node/web/static/boards/motion.js";

const { hz, events } = JSON.parse(readFileSync(0, "utf8"));
const clock = new TickClock(hz);
const others = new Interpolator(clock);
const own = new Predictor((body) => ({ ...body, x: body.x + body.dx }), (body, dx) => ({ ...body, dx }), clock, { far: 500 });
const frames = [];
for (const [now, kind, ...data] of events) {
  if (kind === "acted") own.act(data[0], data[1], now);
  else if (kind === "state") {
    const [tick, seen, body, acked] = data;
    clock.arrived(tick, now);
    others.add(tick, seen);
    own.confirm(tick, body, acked, now);
  } else frames.push([clock.tickAt(now), others.at(now), own.tickAt(now), own.at(now)]);
}
process.stdout.write(JSON.stringify(frames));
