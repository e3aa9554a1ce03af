/**
 * The stage of the labs: a network that is as bad as you like, and a row for each picture.
 */

import { colourOf, h, makeCanvas, makePalette, watchKeys } from "/boards/parts.js";

/** Draw numbers from 0 to 1 (mulberry32). @param {number} seed */
export function chanceOf(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * A room that is far away: states come late, in the order of their ticks, or never; actions
 * come late, but all of them.
 *
 * @param {any} room
 * @param {{delay: number, jitter: number, loss: number}} network milliseconds each way, and a share; may be changed
 * @param {() => number} chance
 */
export function far(room, network, chance = Math.random) {
  const late = () => network.delay + network.jitter * (2 * chance() - 1);
  const heard = [];
  const { setup, view, tick, version, acked } = room;
  const there = { seat: room.seat ?? 0, setup, view, tick, version, acked, acted: 0, receivedAt: performance.now() };
  let sentAt = 0;
  // Actions are numbered here, as those of the room are: it has not sent them yet.
  const numbers = new Map();
  const stop = room.on("state", () => {
    if (chance() < network.loss) return;
    const { view, tick, version } = room;
    const acked = numbers.get(room.acked) ?? 0;
    setTimeout(() => {
      if (version < there.version) return;
      Object.assign(there, { view, tick, version, receivedAt: performance.now() });
      there.acked = Math.max(there.acked, acked);
      for (const call of heard) call();
    }, late());
  });
  const act = (action, shown = there.tick) => {
    const number = (there.acted += 1);
    // A lost packet's action comes with the next packet.
    const resent = chance() < network.loss ? 1000 / setup.tick_hz : 0;
    sentAt = Math.max(sentAt, performance.now() + late() + resent);
    setTimeout(() => {
      room.act(action, shown).catch(() => {});
      numbers.set(room.acted, number);
    }, sentAt - performance.now());
  };
  return Object.assign(there, { act, stop, on: (_, call) => heard.push(call) });
}

/**
 * Make a slider that shows its value.
 *
 * @param {string} label
 * @param {number} value
 * @param {number} most
 * @param {(value: number) => void} changed
 */
export function slider(label, value, most, changed) {
  const shown = h("output", null, `${value}`);
  const range = h("input", { type: "range", min: 0, max: most, value, oninput: () => {
    shown.textContent = range.value;
    changed(Number(range.value));
  } });
  return h("label.knob.lab-slider", null, h("span", null, label), shown, range);
}

/**
 * Make a board of a lab.
 *
 * @param {(room: any) => {rows: (now: number) => Record<string, number | undefined>, move?: (way: number, now: number) => void,
 *   shoot?: (x: number, now: number) => void}} play
 * @param {(score: any) => string} [words] about a player's score
 */
export function lab(play, words) {
  return ({ room }) => {
    const network = { delay: 150, jitter: 20, loss: 0.05 };
    const away = far(room, network);
    const { rows, move, shoot } = play(away);
    const { width, half, duck, tick_hz } = room.setup;
    const { colours, stop: forgetColours } = makePalette();
    const status = words && h("p.turn", { role: "status" });
    const size = move ? half : duck;
    let way = 0;
    const sliderOf = (key, label, most, scale) => slider(label, network[key] * scale, most, (value) => (network[key] = value / scale));
    const { canvas, stop: stopCanvas } = makeCanvas((wide) => Math.min(wide, 90 * Object.keys(rows(0)).length + 10), draw, "The lab");
    function draw(pen, wide, high) {
      const pictures = Object.entries(rows(performance.now()));
      canvas.dataset.rows = JSON.stringify(pictures.map(([, x]) => x ?? null));
      const scale = wide / width;
      pen.fillStyle = colours.raised;
      pen.fillRect(0, 0, wide, high);
      pictures.forEach(([name, x], at) => {
        const top = 10 + at * 90;
        pen.fillStyle = colours.muted;
        pen.font = "14px system-ui, sans-serif";
        pen.fillText(name, 12, top + 20);
        pen.fillStyle = colourOf(at);
        if (x !== undefined && x !== null) pen.fillRect((x - size) * scale, top + 34, 2 * size * scale, 30);
      });
    }
    const shootAt = (event) => {
      const box = canvas.getBoundingClientRect();
      shoot?.(((event.clientX - box.left) / box.width) * width, performance.now());
    };
    canvas.addEventListener("pointerdown", shootAt);
    watchKeys(canvas, (held) => (way = Math.sign(held.reduce((sum, [x]) => sum + x, 0))), (key) => {
      if (key !== " " || !shoot) return false;
      // As a player with a steady hand would.
      shoot(Object.values(rows(performance.now()))[0], performance.now());
      return true;
    });
    const hold = (to) => ({ onpointerdown: () => (way = to), onpointerup: () => (way = 0), onpointerleave: () => (way = 0) });
    const buttons = move && h("div.row.centre", null, h("button", hold(-1), "Left"), h("button", hold(1), "Right"));
    // Each tick says what is held, so that a lost packet costs one tick.
    const pacing = setInterval(() => room.seat !== null && move?.(way, performance.now()), 1000 / tick_hz);
    return {
      element: h("div.board-field", null, status, canvas, buttons,
        h("div.row", null, sliderOf("delay", "Delay, ms", 400, 1), sliderOf("jitter", "Give or take", 100, 1), sliderOf("loss", "Loss, %", 30, 100)),
        h("p.small.muted.hint", null, move ? "Move with the arrow keys, or the buttons." : shoot ? "Click the duck, or press the space bar to shoot at its middle." : "Watch.")),
      update: () => {
        const score = room.view.scores[room.seat];
        if (status) status.textContent = score ? words(score) : "";
      },
      stop() {
        clearInterval(pacing);
        away.stop();
        stopCanvas();
        forgetColours();
      },
    };
  };
}
