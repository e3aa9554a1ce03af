// @ts-check
/** Parts of boards on a canvas: size, colours, direction keys and discs. */

import { h } from "../ui.js";

/**
 * A canvas as wide as its container, sharp on every screen, drawn once per animation frame.
 *
 * @param {(width: number) => number} heightOf
 * @param {(pen: CanvasRenderingContext2D, width: number, height: number, now: number) => void} draw
 * @param {string} label
 */
export function makeCanvas(heightOf, draw, label) {
  const canvas = h("canvas.field-canvas", {
    tabindex: 0,
    role: "application",
    "aria-label": label,
  });
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  let width = 0;
  let height = 0;
  // Style sheets keep it from being higher than the window.
  canvas.style.setProperty("--ratio", String(1000 / heightOf(1000)));
  const fit = () => {
    const wide = canvas.clientWidth;
    const high = Math.round(heightOf(wide));
    const scale = globalThis.devicePixelRatio || 1;
    if (!wide || (wide === width && high === height)) return;
    width = wide;
    height = high;
    canvas.style.height = `${high}px`;
    canvas.width = Math.round(wide * scale);
    canvas.height = Math.round(high * scale);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
  };
  const watching = new ResizeObserver(fit);
  watching.observe(canvas);
  let frame = 0;
  const again = (/** @type {number} */ now) => {
    frame = requestAnimationFrame(again);
    if (width) draw(pen, width, height, now);
  };
  frame = requestAnimationFrame(again);
  return {
    canvas,
    size: () => [width, height],
    stop() {
      cancelAnimationFrame(frame);
      watching.disconnect();
    },
  };
}

/** The page's colours, updated when the user changes between light and dark. */
export function makePalette() {
  /** @type {Record<string, string>} */
  const colours = {};
  const read = () => {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["bg", "surface", "raised", "line", "line-strong", "text", "muted", "accent"]) {
      colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
  };
  read();
  const likes = matchMedia("(prefers-color-scheme: dark)");
  likes.addEventListener("change", read);
  return { colours, stop: () => likes.removeEventListener("change", read) };
}

/** @type {Record<string, [number, number]>} */
const KEYS = {
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  w: [0, -1],
  s: [0, 1],
  a: [-1, 0],
  d: [1, 0],
};

/**
 * Report the directions of the keys that are held down, the latest last.
 *
 * @param {HTMLElement} element receives the key events
 * @param {(held: [number, number][]) => void} changed
 * @param {(key: string) => boolean} [other] called with any other key; returns whether it used the key
 */
export function watchKeys(element, changed, other = () => false) {
  /** @type {Map<string, [number, number]>} */
  const held = new Map();
  const report = () => changed([...held.values()]);
  element.addEventListener("keydown", (event) => {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const way = KEYS[key];
    if (way) {
      event.preventDefault();
      if (event.repeat) return;
      held.set(key, way);
      report();
    } else if (other(event.key)) event.preventDefault();
  });
  element.addEventListener("keyup", (event) => {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (held.delete(key)) report();
  });
  element.addEventListener("blur", () => {
    if (held.size) {
      held.clear();
      report();
    }
  });
}

/**
 * Draw a player: a disc with its number, so that colour is not the only sign.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {number} x
 * @param {number} y
 * @param {number} radius
 * @param {string} colour
 * @param {number} seat
 */
export function drawDisc(pen, x, y, radius, colour, seat) {
  pen.fillStyle = colour;
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fill();
  if (radius < 6) return;
  pen.fillStyle = "#fff";
  pen.font = `700 ${Math.round(radius * 1.15)}px system-ui, sans-serif`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillText(String(seat + 1), x, y + radius * 0.06);
}
