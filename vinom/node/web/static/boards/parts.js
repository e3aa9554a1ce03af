// @ts-check
/**
 * What boards are made of. A board is an ES module that exports `mount`, and draws one
 * game: see docs/howto/own-board.rst, and tictactoe.js for a short one.
 */

import { button, colourOf, countdown, dot, h, isCalm, plural, svg, swap } from "../ui.js";
import { drawDisc, makeCanvas, makePalette, watchKeys } from "./canvas.js";

export { button, colourOf, countdown, dot, h, isCalm, plural, svg, swap };
export { drawDisc, makeCanvas, makePalette, watchKeys };

/**
 * @typedef {object} BoardContext What a board gets.
 * @property {import("../vinom.js").Room} room the player's place: `view`, `setup`, `seat`
 *   (null for a spectator), `players`, `options`, `time`...
 * @property {any} facts this game's entry in /games.json: `seats`, `tick_hz`, `actions`...
 * @property {(action: any, tick?: number) => Promise<void>} act play; a refusal is shown to the
 *   player; `tick` as for `room.act`
 * @property {(seat: number | null) => string} nameOf "You", or another player's name
 * @property {(seat: number) => string} colourOf the colour of a seat, as "#rrggbb"
 * @property {(words: string) => void} hint answer a move that is not possible now: a line
 *   above the board, and a short shake
 * @property {(words: string) => void} note write a line under "What happened"
 * @property {number} [every] only in a miniature: the time between two states, seconds
 * @property {(words: string) => void} say announce something to screen readers
 *
 * @typedef {object} Board What `mount` returns.
 * @property {HTMLElement | SVGElement} element
 * @property {() => void} update draws `room.view`: once after `mount`, then after each new state
 * @property {(event: import("../vinom.js").GameEvent) => void} [event] called with each event, once
 * @property {() => void} [stop] ends timers; the board will not be used again
 * @property {(seat: number) => any} [player] text beside a player's name, such as points
 * @property {(seat: number) => any} [mark] an element before the name, instead of a dot
 * @property {() => boolean} [isOver] whether the round is over; without it, whether the
 *   server reported that it is
 * @property {() => boolean} [hasWon] whether this player has won the round that is over;
 *   without it, the outcome that the server reported says so
 * @property {boolean} [ends] whether the board itself shows how a round ended
 *
 * @typedef {(context: BoardContext) => Board} Mount What a board module exports as `mount`;
 *   as `style` it may export the address of a style sheet, relative to the module.
 */

/** Positions of the pips in a square of 100. @type {Record<number, number[][]>} */
const PIPS = {
  1: [[50, 50]],
  2: [[28, 28], [72, 72]],
  3: [[28, 28], [50, 50], [72, 72]],
  4: [[28, 28], [72, 28], [28, 72], [72, 72]],
  5: [[28, 28], [72, 28], [50, 50], [28, 72], [72, 72]],
  6: [[28, 25], [72, 25], [28, 50], [72, 50], [28, 75], [72, 75]],
};

/** @param {number} face */
export function dieFace(face) {
  const pips = PIPS[face] ?? [];
  return svg("0 0 100 100", pips.map(([cx, cy]) => ["circle", { cx, cy, r: 9.5 }]), "pips");
}

/**
 * A button that asks for another round, for games that have an action for it.
 *
 * @param {any} context
 * @param {number[]} asked seats that have asked for it
 */
export function rematchButton(context, asked) {
  const { room } = context;
  if (room.seat === null) return null;
  const isAsked = asked.includes(room.seat);
  const words = isAsked
    ? "Waiting for the other players…"
    : asked.length
      ? "Accept the rematch"
      : "Play again";
  return button(words, () => context.act({ type: "rematch" }), {
    class: "primary",
    disabled: isAsked,
    data: { key: "rematch" },
  });
}

/**
 * Set the headline above a board. Screen readers announce it only when it changes.
 *
 * @param {any} element
 * @param {string} words
 * @param {boolean} isMine is it our turn?
 */
export function showTurn(element, words, isMine) {
  if (element.textContent !== words) element.textContent = words;
  element.classList.toggle("mine", isMine);
}
