import { Interpolator, TickClock } from "/boards/motion.js";
import { colourOf, h, makeCanvas, makePalette } from "/boards/parts.js";
import { slider } from "./lab.js";

export function play(room) {
  const clock = new TickClock(room.setup.tick_hz);
  const flock = new Interpolator(clock);
  const sizes = [];
  room.on("state", () => {
    clock.arrived(room.tick, room.receivedAt);
    flock.add(room.tick, room.view.ducks);
    sizes.push({ whole: JSON.stringify(room.view).length, packed: room.bytes });
    if (sizes.length > 2 * room.setup.tick_hz) sizes.shift();
  });
  const mean = (key) => sizes.reduce((sum, one) => sum + one[key] / sizes.length, 0);
  return {
    ducks: (now) => flock.at(now) ?? room.view.ducks,
    rows: () => ({ "the whole view": mean("whole"), "what arrives": mean("packed") }),
  };
}

/** The height of a bar and its words. */
const BAR = 46;

/** @type {import("/boards/parts.js").Mount} */
export function mount({ room, act }) {
  const { ducks, rows } = play(room);
  const { width, height } = room.setup;
  const { colours, stop: forgetColours } = makePalette();
  const { canvas, stop } = makeCanvas((wide) => (wide * height) / width + 2 * BAR, draw, "A flock of ducks, and how many bytes a state has");
  function draw(pen, wide, high) {
    const scale = wide / width;
    pen.fillStyle = colours.raised;
    pen.fillRect(0, 0, wide, high);
    for (const { x, y, dx, dy, kind } of ducks(performance.now())) {
      pen.fillStyle = colourOf(kind === "teal" ? 0 : 1);
      pen.save();
      pen.translate(x * scale, y * scale);
      pen.rotate(Math.atan2(dy, dx));
      pen.scale(scale, scale);
      pen.beginPath();
      pen.moveTo(2, 0);
      pen.lineTo(-1.4, 1.2);
      pen.lineTo(-1.4, -1.2);
      pen.fill();
      pen.restore();
    }
    const bars = Object.entries(rows());
    canvas.dataset.rows = JSON.stringify(bars.map(([, bytes]) => bytes));
    const most = Math.max(...bars.map(([, bytes]) => bytes));
    pen.font = "14px system-ui, sans-serif";
    pen.fillStyle = colours.surface;
    pen.fillRect(0, high - 2 * BAR, wide, 2 * BAR);
    bars.forEach(([name, bytes], at) => {
      const top = high + (at - 2) * BAR;
      pen.fillStyle = colours.text;
      pen.fillText(`${name}: ${Math.round(bytes)} bytes`, 4, top + 20);
      pen.fillStyle = colourOf(at);
      pen.fillRect(4, top + 28, ((wide - 8) * bytes) / most, 10);
    });
  }
  const many = room.view.ducks.length;
  const range = slider("Ducks that fly", room.view.flying, many, (flying) => act({ type: "fly", many: flying }));
  return {
    element: h("div.board-field", null, canvas, h("div.row", null, range)),
    update: () => (range.hidden = room.seat === null),
    stop() {
      stop();
      forgetColours();
    },
  };
}
