// What the page shows of an arena: its own clock and interpolator, given states as they came.
//
// Standard input: {hz, states: [[ms, tick, players]...], frames: [ms...]}.
// Standard output: {shown: [[tick, [x, y]...]...], jumps: [[ms, way...]...]}; a jump is how
// far a state moved what was shown at the moment when it came.

import { readFileSync } from "node:fs";
import { watchPlayers } from "../vinom/node/web/static/boards/arena.js";

const { hz, states, frames } = JSON.parse(readFileSync(0, "utf8"));
const { clock, others } = watchPlayers(hz);
const places = (now) => (others.at(now) ?? []).map((place) => place && [place.x, place.y]);
const shown = [];
const jumps = [];
let next = 0;
for (const frame of frames) {
  for (; next < states.length && states[next][0] <= frame; next += 1) {
    const [now, tick, players] = states[next];
    const before = places(now);
    clock.arrived(tick, now);
    others.add(tick, players);
    const after = places(now);
    jumps.push([now, ...before.map((was, seat) =>
      was && after[seat] ? Math.hypot(after[seat][0] - was[0], after[seat][1] - was[1]) : 0)]);
  }
  shown.push([clock.tickAt(frame), ...places(frame)]);
}
process.stdout.write(JSON.stringify({ shown, jumps }));
