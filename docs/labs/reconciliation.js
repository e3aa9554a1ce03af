import { Predictor, TickClock } from "/boards/motion.js";
import { lab } from "./lab.js";
import { apply, step } from "./prediction.js";

export function play(room) {
  const clock = new TickClock(room.setup.tick_hz);
  const jumps = new Predictor(step, apply, clock, { fields: ["x"], far: 0 });
  const fades = new Predictor(step, apply, clock, { fields: ["x"], half: 70 });
  // This one never learns what the server did.
  const alone = new Predictor(step, apply, clock, { fields: ["x"], most: Infinity });
  room.on("state", () => {
    const { tick, acked, receivedAt: now } = room;
    const paddle = room.view.paddles[room.seat];
    clock.arrived(tick, now);
    for (const own of [jumps, fades]) own.confirm(tick, paddle, acked, now);
    if (!alone.at(now)) alone.confirm(tick, paddle, acked, now);
  });
  return {
    move(way, now) {
      room.act({ type: "move", way });
      for (const own of [jumps, fades, alone]) own.act({ way }, room.acted, now);
    },
    rows: (now) => ({
      "never corrected": alone.at(now)?.x,
      "corrected at once": jumps.at(now)?.x,
      "corrected smoothly": fades.at(now)?.x,
    }),
  };
}

export const mount = lab(play);
