// @ts-check
/** How the page words the end of games and rooms. */

import { inWords } from "./ui.js";

/** @type {Record<string, string>} */
const ENDINGS = {
  finished: "The game is over.",
  abandoned: "All players have left.",
  void: "Not enough players came.",
  crashed: "The game stopped because of an error. Its author can find the cause in the server’s recordings.",
  time_limit: "Time is up: this game has reached its time limit.",
  ended: "An operator closed the room.",
  shutdown: "The server is stopping.",
  kicked: "The host removed you.",
  lost: "The server restarted, and this room was lost.",
  replaced: "You’re playing in this room in another tab.",
};
/** The same for matches. @type {Record<string, string>} */
const MATCH_ENDINGS = {
  ...ENDINGS,
  finished: "The match is over.",
  lost: "The game server of this match has failed.",
};

/**
 * Say why a room or a match is over.
 *
 * @param {string} reason
 * @param {boolean} isMatch
 */
export const endingWords = (reason, isMatch) =>
  (isMatch ? MATCH_ENDINGS : ENDINGS)[reason] ?? inWords({ code: reason, message: reason });

/** "Ann, Bob and Cid". @param {string[]} names */
export const listed = (names) =>
  names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;

/**
 * Say who has left a game; empty if nobody has.
 *
 * @param {{name: string}[]} former
 */
export function leftWords(former) {
  if (!former.length) return "";
  return `${listed(former.map((one) => one.name))} ${former.length === 1 ? "has" : "have"} left the game.`;
}

/**
 * Say who won a round.
 *
 * @param {import("./vinom.js").Outcome | null} outcome
 * @param {number | null} me seat of the reader
 * @param {number} count of the players
 * @param {(seat: number) => string} nameOf
 */
export function resultWords(outcome, me, count, nameOf) {
  const [first = []] = outcome?.places ?? [];
  const isShared = first.length > 1 && first.length === count;
  if (!first.length || isShared) return "Nobody won this round.";
  if (first.length === 1 && first[0] === me) return "You won!";
  const others = first.filter((seat) => seat !== me);
  return `${listed([...(others.length < first.length ? ["You"] : []), ...others.map(nameOf)])} won.`;
}
