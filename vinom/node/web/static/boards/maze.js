// @ts-check
/** The maze: walk with keys, fingers or buttons; winners dance. */

import { button, colourOf, h, inWords, isCalm, plural, swap, toast } from "../ui.js";
import { drawDisc, makeCanvas, makePalette, watchKeys } from "./canvas.js";
import { showTurn } from "./parts.js";

/** @type {Record<string, {bit: number, row: number, col: number}>} */
const WAYS = {
  up: { bit: 1, row: -1, col: 0 },
  right: { bit: 2, row: 0, col: 1 },
  down: { bit: 4, row: 1, col: 0 },
  left: { bit: 8, row: 0, col: -1 },
};
/** Time between two steps while a key is held, milliseconds. */
const STEP = 115;

/** @param {number} x @param {number} y */
function nameOfWay(x, y) {
  if (Math.abs(x) > Math.abs(y)) return x > 0 ? "right" : "left";
  return y > 0 ? "down" : "up";
}

/**
 * A gopher that dances: it sways, stretches and waves. Dancing is key.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {number} x where it stands @param {number} y
 * @param {number} size half of its height
 * @param {string} colour
 * @param {number} beat radians of its dance; 0 stands still
 */
function drawGopher(pen, x, y, size, colour, beat) {
  const sway = Math.sin(beat);
  const stretch = 1 + 0.12 * Math.sin(2 * beat);
  /** @param {string} fill @param {number[][]} ovals each: x, y, wide, high, turned by */
  const put = (fill, ...ovals) => {
    pen.fillStyle = fill;
    for (const [ovalX, ovalY, wide, high, turn = 0] of ovals) {
      pen.beginPath();
      pen.ellipse(ovalX, ovalY, wide, high, turn, 0, 2 * Math.PI);
      pen.fill();
    }
  };
  pen.save();
  pen.translate(x, y + 0.4 * size);
  pen.scale(size, size);
  // Its feet stay on the beat while the body leans over them.
  put("#e8c39e", [-0.25, -0.06 * Math.max(0, sway), 0.2, 0.1], [0.25, 0.06 * Math.min(0, sway), 0.2, 0.1]);
  pen.rotate(0.22 * sway);
  pen.scale(1 / stretch, stretch);
  put("#e8c39e", [-0.56, -0.65 - 0.3 * sway, 0.11, 0.26, -0.9 + sway], [0.56, -0.65 + 0.3 * sway, 0.11, 0.26, 0.9 + sway]);
  put(colour, [-0.36, -1.3, 0.14, 0.14], [0.36, -1.3, 0.14, 0.14], [0, -0.72, 0.48, 0.72]);
  put("#fff", [-0.2, -1.08, 0.19, 0.2], [0.2, -1.08, 0.19, 0.2], [0, -0.76, 0.07, 0.12]);
  put("#e8c39e", [0, -0.85, 0.17, 0.09]);
  put("#202124", [-0.16 + 0.05 * sway, -1.06, 0.07, 0.08], [0.16 + 0.05 * sway, -1.06, 0.07, 0.08], [0, -0.9, 0.08, 0.05]);
  pen.restore();
}

/** @type {import("./parts.js").Mount} */
export function mount(context) {
  const { room } = context;
  const { rows, cols, walls } = room.setup;
  const status = h("p.turn", { role: "status" });
  const left = h("p.muted.clock");
  const foot = h("div.row.centre");
  const { colours, stop: forgetColours } = makePalette();
  /** Where players are drawn, in cells. @type {number[][]} */
  const drawn = [];
  /** Our position once the server has applied the moves under way. @type {number[] | null} */
  let ahead = null;
  let onTheirWay = 0;
  /** Directions to try, the best first. @type {string[]} */
  let wanted = [];
  let steppedAt = 0;
  let before = 0;
  /** How long drawn players are on their way, milliseconds; in a miniature states are rare. */
  const halfWay = context.every ? 400 * context.every : 45;

  const isOpen = (/** @type {number} */ row, /** @type {number} */ col, /** @type {number} */ bit) =>
    (Number.parseInt(walls[row][col], 16) & bit) !== 0;

  // Input.

  function step() {
    const now = performance.now();
    if (room.seat === null || room.view.over || !wanted.length || now - steppedAt < STEP || onTheirWay > 6) return;
    const [row, col] = ahead ?? room.view.at[room.seat];
    const way = wanted.find((one) => isOpen(row, col, WAYS[one].bit));
    if (way === undefined) return;
    steppedAt = now;
    // Move at once; the server has the last word.
    ahead = [row + WAYS[way].row, col + WAYS[way].col];
    onTheirWay += 1;
    room
      .act({ type: "move", direction: way, from: [row, col] })
      .catch(() => (ahead = null))
      .then(() => {
        onTheirWay -= 1;
        if (!onTheirWay) ahead = null;
      });
  }

  const { canvas, size, stop: stopCanvas } = makeCanvas(
    (width) => (width * rows) / cols,
    draw,
    "The maze. Move with the arrow keys.",
  );
  watchKeys(canvas, (held) => {
    wanted = held.reverse().map(([x, y]) => nameOfWay(x, y));
    step();
  });
  let isDown = false;
  /** @param {PointerEvent} event */
  function point(event) {
    if (!isDown || room.seat === null) return;
    const box = canvas.getBoundingClientRect();
    const [width] = size();
    const cell = width / cols;
    const [row, col] = ahead ?? room.view.at[room.seat];
    const x = (event.clientX - box.left) / cell - col - 0.5;
    const y = (event.clientY - box.top) / cell - row - 0.5;
    if (Math.max(Math.abs(x), Math.abs(y)) < 0.5) wanted = [];
    else {
      const sideways = nameOfWay(x, 0);
      const upright = nameOfWay(0, y);
      wanted = Math.abs(x) > Math.abs(y) ? [sideways, upright] : [upright, sideways];
      if (Math.abs(x) < 0.5) wanted = [upright];
      if (Math.abs(y) < 0.5) wanted = [sideways];
    }
    step();
  }
  canvas.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    isDown = true;
    point(event);
  });
  /** @type {PointerEvent | null} */
  let last = null;
  canvas.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    last = event;
    point(event);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, () => {
      isDown = false;
      last = null;
      wanted = [];
    });
  }

  // Drawing.

  /** @param {CanvasRenderingContext2D} pen @param {number} width @param {number} height @param {number} now */
  function draw(pen, width, height, now) {
    if (isDown && last) point(last);
    step();
    const cell = width / cols;
    const passed = Math.min(100, now - before);
    before = now;
    const { at, points, over, winners, dancing } = room.view;
    pen.fillStyle = colours.surface;
    pen.fillRect(0, 0, width, height);
    for (let index = 0; index < points.length; index += 1) {
      const worth = points.charCodeAt(index) - 48;
      if (!worth) continue;
      const x = ((index % cols) + 0.5) * cell;
      const y = (Math.floor(index / cols) + 0.5) * cell;
      pen.fillStyle = worth > 1 ? colours.accent : colours["line-strong"];
      pen.beginPath();
      if (worth > 1) {
        const size = cell * 0.26;
        pen.moveTo(x, y - size);
        pen.lineTo(x + size, y);
        pen.lineTo(x, y + size);
        pen.lineTo(x - size, y);
      } else pen.arc(x, y, Math.max(1.3, cell * 0.075), 0, 2 * Math.PI);
      pen.fill();
    }
    pen.strokeStyle = colours.text;
    pen.lineWidth = Math.max(1.5, cell * 0.07);
    pen.lineCap = "round";
    pen.beginPath();
    for (let row = 0; row < rows; row += 1) {
      for (let col = 0; col < cols; col += 1) {
        const x = col * cell;
        const y = row * cell;
        if (!isOpen(row, col, 2)) {
          pen.moveTo(x + cell, y);
          pen.lineTo(x + cell, y + cell);
        }
        if (!isOpen(row, col, 4)) {
          pen.moveTo(x, y + cell);
          pen.lineTo(x + cell, y + cell);
        }
      }
    }
    pen.stroke();
    // Inset it, or half of the outer wall would lie outside of the canvas.
    const thick = pen.lineWidth;
    pen.strokeRect(thick / 2, thick / 2, width - thick, height - thick);

    const places = at.map((/** @type {number[]} */ place, /** @type {number} */ seat) =>
      seat === room.seat && ahead ? ahead : place,
    );
    const near = isCalm() ? 1 : 1 - Math.exp(-passed / halfWay);
    const order = places.map((/** @type {any} */ _, /** @type {number} */ seat) => seat);
    // Draw ourselves last, on top.
    order.sort((/** @type {number} */ one) => (one === room.seat ? 1 : -1));
    for (const seat of order) {
      const [row, col] = places[seat];
      const from = drawn[seat] ?? [row, col];
      drawn[seat] = [from[0] + (row - from[0]) * near, from[1] + (col - from[1]) * near];
      const x = (drawn[seat][1] + 0.5) * cell;
      const y = (drawn[seat][0] + 0.5) * cell;
      const dances = dancing.includes(seat);
      const radius = cell * 0.36 * (over && winners.includes(seat) ? 1.25 : 1);
      if (dances) {
        pen.fillStyle = colours.accent;
        pen.font = `700 ${Math.round(cell * 0.6)}px system-ui, sans-serif`;
        pen.textAlign = "center";
        pen.textBaseline = "middle";
        const sway = isCalm() ? 0 : Math.sin(now / 260) * cell * 0.2;
        // Above the dancer or, at the upper edge, below; never beyond an edge.
        const middle = Math.max(cell, Math.min(width - cell, x));
        const high = y < cell * 1.5 ? cell * 2.2 : y - cell * 1.3;
        pen.fillText("♪", middle - cell * 0.5 + sway, high);
        pen.fillText("♫", middle + cell * 0.5 - sway, high - cell * 0.1);
        // Its head stays on the canvas, also in the uppermost row.
        drawGopher(pen, x, Math.max(y, cell * 1.15), cell * 0.95, colourOf(seat), isCalm() ? 0 : now / 130);
        continue;
      }
      drawDisc(pen, x, y, radius, colourOf(seat), seat);
      if (seat === room.seat) {
        pen.strokeStyle = colours.text;
        pen.lineWidth = 2;
        pen.beginPath();
        pen.arc(x, y, radius + 2.5, 0, 2 * Math.PI);
        pen.stroke();
      }
    }
    canvas.dataset.at = room.seat === null ? "" : String(room.view.at[room.seat]);
  }

  /** A button that keeps walking while it is held. @param {string} way @param {string} sign */
  function pad(way, sign) {
    const stop = () => (wanted = []);
    return button(sign, () => step(), {
      class: `pad pad-${way}`,
      "aria-label": `Go ${way}`,
      onpointerdown: () => {
        wanted = [way];
        step();
      },
      onpointerup: stop,
      onpointerleave: stop,
      onpointercancel: stop,
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        wanted = [way];
        steppedAt = 0;
        step();
        wanted = [];
      },
    });
  }
  const pads = h("div.pads", null, pad("up", "↑"), pad("left", "←"), pad("down", "↓"), pad("right", "→"));
  const hint = h(
    "p.small.muted.hint",
    null,
    "Walk with the arrow keys, or press where you want to go.",
  );
  let shown = "";
  if (room.seat !== null) setTimeout(() => canvas.focus({ preventScroll: true }));

  return {
    element: h("div.board-field.maze", null, h("div.field-head", null, status, left), canvas, foot, room.seat !== null && pads, hint),
    ends: true,
    isOver: () => room.view.over,
    hasWon: () => room.view.winners.includes(room.seat),
    stop() {
      stopCanvas();
      forgetColours();
    },
    /** @param {number} seat */
    player: (seat) => String(room.view.scores[seat] ?? 0),
    update() {
      const { over, winners, dancing, left: points } = room.view;
      const won = over && winners.includes(room.seat);
      let words = `${plural(points, "point")} left`;
      if (over) {
        const names = winners.map(context.nameOf).join(" and ");
        words = won && winners.length === 1 ? "You won! Dance!" : `${names} won`;
      }
      showTurn(status, words, false);
      const minutes = Math.max(0, room.setup.ends_at - room.time);
      left.textContent = over ? "" : `${Math.floor(minutes / 60)}:${String(Math.floor(minutes % 60)).padStart(2, "0")}`;
      const key = `${over}${dancing}${room.isHost}`;
      pads.hidden = over;
      hint.hidden = over || room.seat === null;
      if (key === shown) return;
      shown = key;
      swap(
        foot,
        won &&
          button(dancing.includes(room.seat) ? "Dancing" : "Dance", () => context.act({ type: "dance" }), {
            class: "primary",
            disabled: dancing.includes(room.seat),
            data: { key: "dance" },
          }),
        over &&
          room.isHost &&
          button("Play again", () => room.rematch().catch((/** @type {any} */ error) => toast(inWords(error))), {
            data: { key: "again" },
          }),
      );
    },
    /** @param {any} event */
    event({ kind, data }) {
      if (kind === "danced") context.note(`${context.nameOf(data.seat)} ${data.seat === room.seat ? "dance" : "dances"}.`);
    },
  };
}
