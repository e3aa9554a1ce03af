/** Two snakes: your own where it will be, the other between two states. */

import { Interpolator, Predictor, TickClock, mix } from "/boards/motion.js";
import { drawDisc, makeCanvas, makePalette, watchKeys } from "/boards/parts.js";
import { apply, move } from "./rules.js";

/** Heads glide; a body, whose corners come and go, is that of the nearer state. */
const mixSnake = (before, after, part) => ({
  ...(part < 1 ? before : after),
  x: mix(before.x, after.x, part),
  y: mix(before.y, after.y, part),
});

/** @type {import("/boards/parts.js").Mount} */
export function mount({ room, act, colourOf }) {
  const { width, height, tick_hz: hz } = room.setup;
  const clock = new TickClock(hz);
  const own = new Predictor(move, apply, clock, { fields: ["x", "y"] });
  const others = room.view.snakes.map(() => new Interpolator(clock, mixSnake));
  const heard = () => {
    const { tick, view, seat, acked, receivedAt } = room;
    clock.arrived(tick, receivedAt);
    view.snakes.forEach((snake, n) => {
      if (n === seat) own.confirm(tick, snake, acked, receivedAt);
      else others[n].add(tick, snake);
    });
  };
  heard();
  const deaf = room.on("state", heard);
  const palette = makePalette();
  const draw = (pen, wide, high, now) => {
    const scale = wide / width;
    pen.fillStyle = palette.colours.raised;
    pen.fillRect(0, 0, wide, high);
    drawDisc(pen, room.view.food[0] * scale, room.view.food[1] * scale, 5, palette.colours.accent, 0);
    pen.lineWidth = 1000 * scale;
    pen.lineCap = pen.lineJoin = "round";
    room.view.snakes.forEach(({ alive }, seat) => {
      const snake = (seat === room.seat && alive ? own : others[seat]).at(now) ?? room.view.snakes[seat];
      pen.strokeStyle = colourOf(seat);
      pen.beginPath();
      pen.moveTo(snake.x * scale, snake.y * scale);
      for (const [x, y] of snake.body) pen.lineTo(x * scale, y * scale);
      pen.stroke();
    });
  };
  const field = makeCanvas((wide) => (wide * height) / width, draw, "Two snakes");
  const steer = ([right, down]) => {
    if (room.state !== "playing") return;
    const way = right ? 1 - right : 2 - down;
    act({ type: "steer", way });
    own.act({ way }, room.acted, performance.now());
  };
  watchKeys(field.canvas, (held) => held.length && steer(held.at(-1)));
  // A finger shows where to, and the snake turns to that side.
  field.canvas.addEventListener("pointerdown", (event) => {
    const snake = own.at(performance.now());
    if (!snake) return;
    const scale = width / field.canvas.clientWidth;
    const [right, down] = [event.offsetX * scale - snake.x, event.offsetY * scale - snake.y];
    steer(snake.way % 2 ? [Math.sign(right) || 1, 0] : [0, Math.sign(down) || 1]);
  });
  return {
    element: field.canvas,
    update() {},
    player: (seat) => `${room.view.snakes[seat].length / 1000} long`,
    stop() {
      deaf();
      field.stop();
      palette.stop();
    },
  };
}
