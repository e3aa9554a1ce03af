// @ts-check
/** Parts of several boards: dice, the headline, the rematch button. */

import { button, svg } from "../ui.js";

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
