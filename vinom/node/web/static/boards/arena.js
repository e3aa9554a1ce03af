// @ts-check
/**
 * The arena: twenty states per second. Other players are drawn a little late, so that
 * there is nearly always one state before and one after the moment that is drawn; the
 * player's own figure is drawn at once.
 */

import { button, colourOf, h, isCalm, plural, swap } from "../ui.js";
import { bodyOf, predictOwn } from "./arena_own.js";
import { Wish } from "./arena_wish.js";
import { drawDisc, makeCanvas, makePalette, watchKeys } from "./canvas.js";
import { Interpolator, TickClock, mix } from "./motion.js";
import { rematchButton, showTurn } from "./parts.js";

/** How far to drag a finger for full speed, pixels. */
const STICK = 44;

/**
 * Every player's place between two states.
 *
 * @param {any[]} before
 * @param {any[]} after
 * @param {number} part
 * @param {number} ticks between the two
 * @returns {({x: number, y: number, player: any} | null)[]}
 */
function placesBetween(before, after, part, ticks) {
  const more = Math.max(0, part - 1) * ticks;
  return after.map((player, seat) => {
    if (!player) return null;
    const [x, y, vx, vy] = player;
    if (more) return { x: x + vx * more, y: y + vy * more, player };
    const was = before[seat];
    // Don't interpolate teleports, such as the start of a round.
    if (!was || Math.hypot(x - was[0], y - was[1]) > 600 * ticks + 600) return { x, y, player };
    return { x: mix(was[0], x, part), y: mix(was[1], y, part), player };
  });
}

/**
 * The clock of the drawing, and every player's place at any moment.
 *
 * @param {number} hz
 * @param {number} [every] the time between two states, seconds, if they are rare
 */
export function watchPlayers(hz, every = 0) {
  const clock = new TickClock(hz, { least: Math.max(100, 1200 * every), most: Math.max(250, 2000 * every) });
  /** @type {Interpolator<any>} */
  const others = new Interpolator(clock, placesBetween);
  return { clock, others };
}

/** @type {import("./parts.js").Mount} */
export function mount(context) {
  const { room } = context;
  const field = room.setup;
  const { clock, others } = watchPlayers(field.tick_hz, context.every);
  const own = room.seat === null ? null : predictOwn(field, clock);
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
    if (way) send({ type: "move", x: way[0], y: way[1] });
    else if (wish.isUnsent) later = setTimeout(sendWish, 50);
  }

  /** Apply an action here at once, and send it. @param {{type: string, x?: number, y?: number}} action */
  function send(action) {
    room.act(action);
    own?.act(action, room.acted, performance.now());
  }

  function dash() {
    if (room.seat === null || room.view.phase !== "playing") return;
    send({ type: "dash" });
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
    /** @type {({x: number, y: number, player: any} | null)[]} */
    const places = others.at(performance.now()) ?? [];
    const mine = own?.at(performance.now());
    if (mine && room.seat !== null) {
      const { x, y, vx, vy, dash, rest } = mine;
      const [, , , , points, , , safe] = room.view.players[room.seat];
      me = { x, y };
      places[room.seat] = { x, y, player: [x, y, vx, vy, points, dash, rest, safe] };
    }
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
    canvas.dataset.tick = String(Math.floor(clock.tickAt(performance.now())));
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
      clock.arrived(tick, room.receivedAt);
      others.add(tick, players);
      if (room.seat !== null) {
        const player = players[room.seat];
        // Between two rounds nobody moves.
        const body = player && { ...bodyOf(player), ...(phase === "over" && { toX: 0, toY: 0 }) };
        own?.confirm(tick, body, room.acked, room.receivedAt);
      }
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
