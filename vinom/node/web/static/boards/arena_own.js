// @ts-check
/** The rules by which a player of the arena moves, the same as the server's, and the player's own figure by them. */

import { Predictor } from "./motion.js";

/** The largest component of a direction. */
const FULL = 100;

/**
 * @typedef {{x: number, y: number, vx: number, vy: number, dash: number, rest: number, toX: number, toY: number}} Body
 * @typedef {{type: string, x?: number, y?: number}} Action
 */

/** A player's body, as states have it. @param {any[]} player @returns {Body} */
export const bodyOf = ([x, y, vx, vy, , dash, rest, , toX, toY]) => ({ x, y, vx, vy, dash, rest, toX, toY });

/**
 * The distance of one tick.
 *
 * @param {number} x @param {number} y @param {number} speed
 * @returns {[number, number]}
 */
function velocity(x, y, speed) {
  const scale = Math.max(FULL, Math.ceil(Math.sqrt(x * x + y * y)));
  return [Math.trunc((speed * x) / scale), Math.trunc((speed * y) / scale)];
}

/** Apply an action. @param {any} field @param {Body} body @param {Action} action @returns {Body} */
export function heed(field, body, action) {
  if (action.type === "move") return { ...body, toX: action.x ?? 0, toY: action.y ?? 0 };
  if (action.type !== "dash" || body.rest) return body;
  return { ...body, dash: field.dash_ticks, rest: field.rest_ticks };
}

/** Move by one tick; walls stop one axis only. @param {any} field @param {Body} body @returns {Body} */
export function move(field, body) {
  const half = field.size / 2;
  const [dx, dy] = velocity(body.toX, body.toY, body.dash ? field.dash_speed : field.speed);
  let { x, y } = body;
  const isIn = (/** @type {number[]} */ [left, top, width, height]) =>
    left - half < x && x < left + width + half && top - half < y && y < top + height + half;
  if (dx) {
    x = Math.min(Math.max(x + dx, half), field.width - half);
    for (const wall of field.walls) if (isIn(wall)) x = dx > 0 ? wall[0] - half : wall[0] + wall[2] + half;
  }
  if (dy) {
    y = Math.min(Math.max(y + dy, half), field.height - half);
    for (const wall of field.walls) if (isIn(wall)) y = dy > 0 ? wall[1] - half : wall[1] + wall[3] + half;
  }
  const { dash, rest, toX, toY } = body;
  return { x, y, vx: x - body.x, vy: y - body.y, dash: Math.max(0, dash - 1), rest: Math.max(0, rest - 1), toX, toY };
}

/**
 * Predict the player's own figure.
 *
 * @param {any} field
 * @param {import("./motion.js").TickClock} clock
 * @returns {Predictor<Body, Action>}
 */
export const predictOwn = (field, clock) =>
  // Teleports, such as the start of a round, are not smooth.
  new Predictor((body) => move(field, body), (body, action) => heed(field, body, action), clock, { far: 3 * field.size });
