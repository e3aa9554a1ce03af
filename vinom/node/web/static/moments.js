// @ts-check
/** Moments of a game: it begins, it is your turn, and a round is over. */

import { sound } from "./sound.js";
import { COLOURS, h, isCalm } from "./ui.js";

/** How many pieces of paper fall when the player has won. */
const PIECES = 36;

/**
 * Watch for moments, and mark them.
 *
 * @param {HTMLElement} stage where paper falls for a winner
 * @returns {(now: {isPlaying: boolean, isMine: boolean, isOver: boolean, hasWon: boolean}) => void} to be called
 *   with each state
 */
export function watchMoments(stage) {
  /** How it was; the first state is no moment: it may be a reload. @type {any} */
  let before = null;
  return (now) => {
    const { isPlaying, isMine, isOver, hasWon } = now;
    if (before && isOver && !before.isOver) {
      sound(hasWon ? "won" : "over");
      if (hasWon) celebrate(stage);
    } else if (before && ((isMine && !before.isMine) || (isPlaying && !before.isPlaying))) sound("turn");
    before = now;
  };
}

/** Let paper fall; nothing moves for players who prefer reduced motion. @param {HTMLElement} stage */
function celebrate(stage) {
  if (isCalm() || !stage.animate) return;
  const box = h("div.paper", { "aria-hidden": "true" });
  stage.append(box);
  const height = stage.clientHeight;
  const falls = [...Array(PIECES).keys()].map((at) => {
    const piece = h("span", null);
    piece.style.left = `${((at + Math.random()) / PIECES) * 100}%`;
    piece.style.background = COLOURS[at % COLOURS.length];
    box.append(piece);
    const aside = 60 * (Math.random() - 0.5);
    const turns = 360 + 540 * Math.random();
    return piece.animate(
      [
        { transform: "translate(0, -20px)", opacity: 1 },
        { transform: `translate(${aside}px, ${height}px) rotate(${turns}deg)`, opacity: 0.2 },
      ],
      { duration: 1400 + 1100 * Math.random(), delay: 500 * Math.random(), easing: "cubic-bezier(.3,.2,.7,1)", fill: "both" },
    ).finished;
  });
  Promise.allSettled(falls).then(() => box.remove());
}
