import { Predictor, TickClock } from "/boards/motion.js";
import { lab } from "./lab.js";

/** The same as `step` in labs.py. */
export const step = ({ x, way }) => ({ x: Math.min(Math.max(x + 320 * way, 800), 12000), way });

export const apply = (paddle, { way }) => ({ ...paddle, way });

export function play(room) {
  const clock = new TickClock(room.setup.tick_hz);
  const own = new Predictor(step, apply, clock, { fields: ["x"] });
  room.on("state", () => {
    clock.arrived(room.tick, room.receivedAt);
    own.confirm(room.tick, room.view.paddles[room.seat], room.acked, room.receivedAt);
  });
  return {
    move(way, now) {
      room.act({ type: "move", way });
      own.act({ way }, room.acted, now);
    },
    tickAt: (now) => own.tickAt(now),
    rows: (now) => ({
      "the newest state": room.view.paddles[room.seat].x,
      "where it will be": own.at(now)?.x,
    }),
  };
}

export const mount = lab(play);
