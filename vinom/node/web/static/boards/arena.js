// @ts-check
/**
 * The arena: twenty states per second. Other players are drawn a little late, so that
 * there is nearly always one state before and one after the moment that is drawn; the
 * player's own figure is drawn at once.
 */

import { button, colourOf, h, isCalm, plural, swap } from "../ui.js";
import { Own } from "./arena_own.js";
import { Wish } from "./arena_wish.js";
import { drawDisc, makeCanvas, makePalette, watchKeys } from "./canvas.js";
import { rematchButton, showTurn } from "./parts.js";

/**
 * The bounds of the drawing delay, milliseconds. Between them it is the largest delay of the last states, plus one and a
 * half ticks, so that one state can be lost.
 */
const LEAST_DELAY = 100;
const MOST_DELAY = 250;
/** How much faster or slower the drawing's clock may run to reach the right delay. */
const HASTE = 0.1;
/** How far to extrapolate beyond the latest state, ticks. */
const BEYOND = 2;
const KEPT = 40;
/** How far to drag a finger for full speed, pixels. */
const STICK = 44;

/**
 * The states received, and every player's position at any moment between them.
 */
export class Timeline {
  /** @type {{tick: number, players: any[]}[]} */
  #states = [];
  /** For each of the latest states, when tick 0 would have arrived with its delay. @type {number[]} */
  #starts = [];
  /** When tick 0 is drawn. */
  #origin = 0;
  #addedAt = 0;

  /** @param {number} hz @param {number} [every] the time between two states, seconds, if they are rare */
  constructor(hz, every = 0) {
    this.step = 1000 / hz;
    this.least = Math.max(LEAST_DELAY, 1200 * every);
    this.most = Math.max(MOST_DELAY, 2000 * every);
  }

  /** @param {number} tick @param {any[]} players @param {number} now milliseconds */
  add(tick, players, now) {
    const last = this.#states.at(-1);
    if (last && tick <= last.tick) {
      if (tick === last.tick) return;
      // Another round may count from 0 again.
      this.#states = [];
      this.#starts = [];
    }
    this.#states.push({ tick, players });
    this.#starts.push(now - tick * this.step);
    if (this.#states.length > KEPT) this.#states.shift();
    if (this.#starts.length > KEPT) this.#starts.shift();
    const earliest = Math.min(...this.#starts);
    const late = Math.max(...this.#starts) - earliest + 1.5 * this.step;
    const origin = earliest + Math.min(this.most, Math.max(this.least, late));
    const most = this.#starts.length > 1 ? HASTE * (now - this.#addedAt) : Infinity;
    this.#origin += Math.max(-most, Math.min(most, origin - this.#origin));
    this.#addedAt = now;
  }

  /** The tick to draw at a moment, with its fraction. @param {number} now */
  tickAt(now) {
    return (now - this.#origin) / this.step;
  }

  /**
   * The position of every player to draw.
   *
   * @param {number} now
   * @returns {({x: number, y: number, player: any} | null)[]}
   */
  at(now) {
    const newest = this.#states.at(-1);
    if (!newest) return [];
    const tick = this.tickAt(now);
    if (tick >= newest.tick) {
      const more = Math.min(BEYOND, tick - newest.tick);
      return newest.players.map(
        (player) =>
          player && { x: player[0] + player[2] * more, y: player[1] + player[3] * more, player },
      );
    }
    let next = this.#states.length - 1;
    while (next > 0 && this.#states[next - 1].tick > tick) next -= 1;
    const after = this.#states[next];
    const before = this.#states[Math.max(0, next - 1)];
    const span = after.tick - before.tick;
    const part = span ? Math.max(0, (tick - before.tick) / span) : 1;
    return after.players.map((player, seat) => {
      const was = before.players[seat];
      if (!player) return null;
      // Don't interpolate teleports, such as the start of a round.
      const far = was && Math.hypot(player[0] - was[0], player[1] - was[1]) > 600 * span + 600;
      if (!was || far) return { x: player[0], y: player[1], player };
      return {
        x: was[0] + (player[0] - was[0]) * part,
        y: was[1] + (player[1] - was[1]) * part,
        player,
      };
    });
  }
}

/** @type {import("./parts.js").Mount} */
export function mount(context) {
  const { room } = context;
  const field = room.setup;
  const timeline = new Timeline(field.tick_hz, context.every);
  const own = room.seat === null ? null : new Own(field);
  const status = h("p.turn", { role: "status" });
  const left = h("p.muted.clock", { "aria-hidden": "true" });
  const foot = h("div.row.centre");
  const { colours, stop: forgetColours } = makePalette();
  /** Where our figure is drawn; the mouse steers towards the pointer from there. */
  let me = { x: field.width / 2, y: field.height / 2 };
  let camera = { left: 0, top: 0, scale: 1 };
  /** In a miniature small things would not be seen. */
  const boldness = context.every ? 2 : 1;
  const wish = new Wish();
  let number = 0;
  /** @type {any} */
  let later;
  /** @type {{id: number, x: number, y: number, nowX: number, nowY: number} | null} */
  let stick = null;
  /** @type {{x: number, y: number, until: number, words: string}[]} */
  const floats = [];

  // Input.

  /** @param {number} x @param {number} y from -1 to 1 */
  function go(x, y) {
    wish.want(x, y);
    sendWish();
  }

  function sendWish() {
    if (room.seat === null || room.view.phase !== "playing") return;
    clearTimeout(later);
    const way = wish.take(performance.now());
    if (way) {
      number = (number + 1) % 65536;
      send({ type: "move", x: way[0], y: way[1], n: number });
    } else if (wish.isUnsent) later = setTimeout(sendWish, 50);
  }

  /** Apply an action here at once, and send it. @param {{type: string, x?: number, y?: number, n: number}} action */
  function send(action) {
    own?.acted(action, performance.now());
    room.act(action);
  }

  function dash() {
    if (room.seat === null || room.view.phase !== "playing") return;
    number = (number + 1) % 65536;
    send({ type: "dash", n: number });
  }

  const stopListening = room.on("back", () => {
    wish.forgotten();
    sendWish();
  });
  const { canvas, stop: stopCanvas } = makeCanvas(
    // Narrow screens show the part of the field around the player.
    (width) => (width < 560 ? width : (width * field.height) / field.width),
    draw,
    "The arena. Move with the arrow keys, dash with the space bar.",
  );
  watchKeys(
    canvas,
    (held) => go(held.reduce((sum, way) => sum + way[0], 0), held.reduce((sum, way) => sum + way[1], 0)),
    (key) => {
      if (key !== " ") return false;
      dash();
      return true;
    },
  );

  /** @param {PointerEvent} event */
  function point(event) {
    if (stick === null || event.pointerId !== stick.id) return;
    const box = canvas.getBoundingClientRect();
    stick.nowX = event.clientX - box.left;
    stick.nowY = event.clientY - box.top;
    if (event.pointerType === "mouse") {
      const x = stick.nowX / camera.scale + camera.left - me.x;
      const y = stick.nowY / camera.scale + camera.top - me.y;
      if (Math.hypot(x, y) < field.size / 2) go(0, 0);
      else go(x / Math.hypot(x, y), y / Math.hypot(x, y));
    } else go((stick.nowX - stick.x) / STICK, (stick.nowY - stick.y) / STICK);
  }
  canvas.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
    canvas.focus({ preventScroll: true });
    if (stick !== null) {
      dash();
      return;
    }
    const box = canvas.getBoundingClientRect();
    const x = event.clientX - box.left;
    const y = event.clientY - box.top;
    stick = { id: event.pointerId, x, y, nowX: x, nowY: y };
    canvas.setPointerCapture(event.pointerId);
    if (event.pointerType === "mouse") point(event);
  });
  canvas.addEventListener("pointermove", point);
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (/** @type {PointerEvent} */ event) => {
      if (stick?.id !== event.pointerId) return;
      stick = null;
      go(0, 0);
    });
  }

  // Drawing.

  /** @param {CanvasRenderingContext2D} pen @param {number} width @param {number} height @param {number} now */
  function draw(pen, width, height, now) {
    const places = timeline.at(performance.now());
    const mine = own?.at(performance.now());
    if (mine && room.seat !== null) me = places[room.seat] = mine;
    const scale = Math.max(width / field.width, height / field.height);
    const wide = width / scale;
    const high = height / scale;
    const leftEdge = Math.min(Math.max(me.x - wide / 2, 0), field.width - wide);
    const topEdge = Math.min(Math.max(me.y - high / 2, 0), field.height - high);
    camera = { left: leftEdge, top: topEdge, scale };
    const px = (/** @type {number} */ x) => (x - leftEdge) * scale;
    const py = (/** @type {number} */ y) => (y - topEdge) * scale;

    pen.fillStyle = colours.raised;
    pen.fillRect(0, 0, width, height);
    pen.fillStyle = colours.line;
    for (let x = 750; x < field.width; x += 1500) {
      for (let y = 750; y < field.height; y += 1500) pen.fillRect(px(x) - 1, py(y) - 1, 2, 2);
    }
    // Walls stand on the floor: a dark front below the top. They end where players are stopped.
    const front = Math.max(4, 320 * scale);
    for (const [x, y, w, tall] of field.walls) {
      pen.fillStyle = colours["line-strong"];
      pen.beginPath();
      pen.roundRect(px(x), py(y), w * scale, tall * scale, 5);
      pen.fill();
      pen.fillStyle = "rgb(0 0 0 / 35%)";
      pen.beginPath();
      pen.roundRect(px(x), py(y + tall) - front, w * scale, front, [0, 0, 5, 5]);
      pen.fill();
    }
    const pulse = (isCalm() ? 1 : 1 + 0.12 * Math.sin(now / 220)) * boldness;
    for (const [x, y] of room.view.gems) {
      const size = Math.max(6, 300 * scale) * pulse;
      pen.fillStyle = colours.accent;
      pen.beginPath();
      pen.moveTo(px(x), py(y) - size);
      pen.lineTo(px(x) + size * 0.75, py(y));
      pen.lineTo(px(x), py(y) + size);
      pen.lineTo(px(x) - size * 0.75, py(y));
      pen.fill();
      pen.fillStyle = "rgb(255 255 255 / 45%)";
      pen.beginPath();
      pen.moveTo(px(x), py(y) - size);
      pen.lineTo(px(x) - size * 0.75, py(y));
      pen.lineTo(px(x), py(y));
      pen.fill();
    }
    const radius = (field.size / 2) * scale * boldness;
    places.forEach((place, seat) => {
      if (!place) return;
      const { player } = place;
      // Extrapolation must not leave the field.
      const half = field.size / 2;
      const x = Math.min(Math.max(place.x, half), field.width - half);
      const y = Math.min(Math.max(place.y, half), field.height - half);
      const [, , vx, vy, , dashing, rest, safe] = player;
      const colour = colourOf(seat);
      const edgeX = Math.min(Math.max(px(x), 5), width - 5);
      const edgeY = Math.min(Math.max(py(y), 5), height - 5);
      if (Math.abs(edgeX - px(x)) > radius || Math.abs(edgeY - py(y)) > radius) {
        // Outside of the visible part: a dot at the edge shows the direction.
        drawDisc(pen, edgeX, edgeY, 5, colour, seat);
        return;
      }
      if (dashing && !isCalm()) {
        pen.globalAlpha = 0.25;
        for (const back of [1, 2, 3]) drawDisc(pen, px(x - vx * back * 0.5), py(y - vy * back * 0.5), radius * 0.9, colour, -1);
      }
      pen.globalAlpha = safe ? 0.55 : 1;
      drawDisc(pen, px(x), py(y), radius, colour, seat);
      pen.globalAlpha = 1;
      if (seat === room.seat) {
        pen.strokeStyle = colours.text;
        pen.lineWidth = 2;
        pen.beginPath();
        const ready = 1 - rest / field.rest_ticks;
        pen.arc(px(x), py(y), radius + 4, -Math.PI / 2, -Math.PI / 2 + 2 * Math.PI * ready);
        pen.stroke();
      }
      if (context.every) return;
      const name = room.players.find((/** @type {any} */ one) => one.seat === seat)?.name ?? "";
      pen.font = "600 12px system-ui, sans-serif";
      pen.textAlign = "center";
      pen.textBaseline = "alphabetic";
      pen.fillStyle = colours.text;
      const above = py(y) - radius - 9;
      const side = pen.measureText(name).width / 2 + 4;
      const middle = Math.min(Math.max(px(x), side), Math.max(side, width - side));
      pen.fillText(name, middle, above < 14 ? py(y) + radius + 17 : above);
    });
    if (wide < 0.9 * field.width) drawMap(pen, width, places);
    drawFloats(pen, px, py);
    if (stick && stick.nowX !== stick.x) drawStick(pen, stick);
    canvas.dataset.tick = String(Math.floor(timeline.tickAt(performance.now())));
  }

  /**
   * Draw the whole field small in a corner, where only a part of it fits.
   *
   * @param {CanvasRenderingContext2D} pen @param {number} width
   * @param {({x: number, y: number} | null)[]} places
   */
  function drawMap(pen, width, places) {
    const scale = (0.3 * width) / field.width;
    // In the corner that is far from us.
    const left = me.x - camera.left > width / camera.scale / 2 ? 8 : width - field.width * scale - 8;
    const x = (/** @type {number} */ at) => left + at * scale;
    const y = (/** @type {number} */ at) => 8 + at * scale;
    pen.globalAlpha = 0.85;
    pen.fillStyle = colours.surface;
    pen.fillRect(x(0), y(0), field.width * scale, field.height * scale);
    pen.fillStyle = colours.line;
    for (const [wallX, wallY, w, high] of field.walls) pen.fillRect(x(wallX), y(wallY), w * scale, high * scale);
    pen.fillStyle = colours.accent;
    for (const [gemX, gemY] of room.view.gems) pen.fillRect(x(gemX) - 1.5, y(gemY) - 1.5, 3, 3);
    places.forEach((place, seat) => place && drawDisc(pen, x(place.x), y(place.y), 3, colourOf(seat), seat));
    pen.strokeStyle = colours["line-strong"];
    pen.lineWidth = 1;
    pen.strokeRect(x(camera.left), y(camera.top), (width / camera.scale) * scale, (width / camera.scale) * scale);
    pen.globalAlpha = 1;
  }

  /** @param {CanvasRenderingContext2D} pen @param {(x: number) => number} px @param {(y: number) => number} py */
  function drawFloats(pen, px, py) {
    const now = performance.now();
    while (floats.length && floats[0].until < now) floats.shift();
    pen.font = "700 15px system-ui, sans-serif";
    pen.fillStyle = colours.text;
    for (const one of floats) {
      const age = 1 - (one.until - now) / 900;
      pen.globalAlpha = 1 - age;
      pen.fillText(one.words, px(one.x), py(one.y) - 16 - (isCalm() ? 0 : 18 * age));
    }
    pen.globalAlpha = 1;
  }

  /** @param {CanvasRenderingContext2D} pen @param {{x: number, y: number, nowX: number, nowY: number}} at */
  function drawStick(pen, at) {
    const x = at.nowX - at.x;
    const y = at.nowY - at.y;
    const scale = Math.min(1, STICK / (Math.hypot(x, y) || 1));
    pen.strokeStyle = colours.muted;
    pen.lineWidth = 2;
    pen.globalAlpha = 0.7;
    pen.beginPath();
    pen.arc(at.x, at.y, STICK, 0, 2 * Math.PI);
    pen.stroke();
    pen.fillStyle = colours.muted;
    pen.beginPath();
    pen.arc(at.x + x * scale, at.y + y * scale, 16, 0, 2 * Math.PI);
    pen.fill();
    pen.globalAlpha = 1;
  }

  const dashButton = button("Dash", dash, { class: "big-button", data: { key: "dash" } });
  let shown = "";
  if (room.seat !== null) setTimeout(() => canvas.focus({ preventScroll: true }));

  return {
    element: h("div.board-field", null, h("div.field-head", null, status, left), canvas, foot,
      h("p.small.muted.hint", null, room.seat === null ? "You are watching." :
        "Move with the arrow keys, or by dragging. Dash with the space bar, a second finger, or the button.")),
    ends: true,
    isOver: () => room.view.phase === "over",
    hasWon: () => room.view.winners.includes(room.seat),
    stop() {
      clearTimeout(later);
      stopListening();
      stopCanvas();
      forgetColours();
    },
    /** @param {number} seat */
    player: (seat) => String(room.view.players[seat]?.[4] ?? "–"),
    update() {
      const { tick, ends, phase, players, winners, rematch } = room.view;
      timeline.add(tick, players, room.receivedAt);
      if (room.seat !== null) own?.update(tick, players[room.seat], phase === "playing", room.receivedAt);
      let words = `First to ${plural(field.points, "gem")}`;
      if (phase === "over") {
        const names = winners.map(context.nameOf).join(" and ");
        words = winners.includes(room.seat) && winners.length === 1 ? "You won!" : `${names} won`;
        wish.forgotten();
      }
      sendWish();
      showTurn(status, words, false);
      left.textContent = phase === "over" ? "" : `${Math.max(0, Math.ceil((ends - tick) / field.tick_hz))} s`;
      const key = `${phase}${rematch}${room.players.length}`;
      if (key === shown) return;
      shown = key;
      swap(
        foot,
        room.seat !== null && phase === "playing" && dashButton,
        phase === "over" && room.players.length > 1 && rematchButton(context, rematch),
      );
    },
    /** @param {any} event */
    event({ kind, data }) {
      const until = performance.now() + 900;
      if (kind === "took") floats.push({ x: data.at[0], y: data.at[1], until, words: "+1" });
      else if (kind === "hit") {
        const at = room.view.players[data.seat];
        if (at) floats.push({ x: at[0], y: at[1], until, words: data.points ? `−${data.points}` : "!" });
        const what = data.points ? " and took a point" : "";
        context.note(`${context.nameOf(data.by)} hit ${data.seat === room.seat ? "you" : context.nameOf(data.seat)}${what}.`);
      } else if (kind === "ended") context.note(`${data.winners.map(context.nameOf).join(" and ")} won.`);
      else if (kind === "began") context.note(`Round ${data.round} begins.`);
    },
  };
}
