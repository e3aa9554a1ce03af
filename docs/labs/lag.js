import { Interpolator, TickClock } from "/boards/motion.js";
import { lab } from "./lab.js";

export function play(room) {
  const clock = new TickClock(room.setup.tick_hz);
  const others = new Interpolator(clock);
  room.on("state", () => {
    clock.arrived(room.tick, room.receivedAt);
    others.add(room.tick, room.view.duck);
  });
  return {
    shoot: (x, now) => room.act({ type: "shoot", x: Math.round(x) }, clock.tickAt(now)),
    rows: (now) => ({ "shoot at it": others.at(now) }),
  };
}

export const mount = lab(play, ({ shots, seen, now }) =>
  `${seen} of ${shots} hit by what you saw, ${now} by what was there when the shot arrived`);
