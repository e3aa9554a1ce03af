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
    rows: (now) => ({
      "the newest state": room.view.duck,
      "between two states": others.at(now),
    }),
  };
}

export const mount = lab(play);
