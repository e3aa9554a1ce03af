// @ts-check
/** The games that have a board: title, icon, and where the board is. */

import { svg } from "./ui.js";

/** @type {Record<string, {title: string, about: string, icon: [string, any][], load: () => Promise<any>}>} */
const KNOWN = {
  tictactoe: {
    title: "Tic-tac-toe",
    about: "Get three in a row before the other player does.",
    icon: [
      ["path", { d: "M18 8v32M30 8v32M8 18h32M8 30h32", class: "faint" }],
      ["path", { d: "M10 10l5 5m0-5l-5 5" }],
      ["circle", { cx: 24, cy: 24, r: 3.6 }],
      ["path", { d: "M33 33l5 5m0-5l-5 5" }],
    ],
    load: () => import("./boards/tictactoe.js"),
  },
  dice: {
    title: "Dice",
    about: "Roll, keep what scores, and stop before your luck runs out.",
    icon: [
      ["rect", { x: 8, y: 8, width: 32, height: 32, rx: 8, class: "faint" }],
      ["circle", { cx: 17, cy: 17, r: 2.6, class: "full" }],
      ["circle", { cx: 31, cy: 17, r: 2.6, class: "full" }],
      ["circle", { cx: 24, cy: 24, r: 2.6, class: "full" }],
      ["circle", { cx: 17, cy: 31, r: 2.6, class: "full" }],
      ["circle", { cx: 31, cy: 31, r: 2.6, class: "full" }],
    ],
    load: () => import("./boards/dice.js"),
  },
  owedrahn: {
    title: "Owe drahn",
    about: "Push the total towards 15, and make someone else go over it.",
    icon: [
      ["path", { d: "M10 33a16 16 0 1 1 28 0", class: "faint" }],
      ["path", { d: "M10 33a16 16 0 0 1 3-19" }],
      ["path", { d: "M24 27l7-9" }],
      ["circle", { cx: 24, cy: 27, r: 2.6, class: "full" }],
    ],
    load: () => import("./boards/owedrahn.js"),
  },
  oldmaid: {
    title: "Old maid",
    about: "Draw cards, lay down pairs, and don’t be left with the queen.",
    icon: [
      ["rect", { x: 9, y: 13, width: 19, height: 27, rx: 3, class: "faint" }],
      ["rect", { x: 20, y: 8, width: 19, height: 27, rx: 3, class: "paper" }],
      ["path", { d: "M25 24l-1-7 3 2.500 2.500-4 2.500 4 3-2.500-1 7z" }],
    ],
    load: () => import("./boards/oldmaid.js"),
  },
  arena: {
    title: "Arena",
    about: "Run for gems, and dash into players who have more.",
    icon: [
      ["rect", { x: 6, y: 11, width: 36, height: 26, rx: 4, class: "faint" }],
      ["circle", { cx: 16, cy: 25, r: 4, class: "full" }],
      ["path", { d: "M32 18l4 5-4 6-4-6z" }],
      ["path", { d: "M22 25h3" }],
    ],
    load: () => import("./boards/arena.js"),
  },
  maze: {
    title: "Maze",
    about: "Collect the most points before the maze is empty. Then dance.",
    icon: [
      ["path", { d: "M8 8h32v32H8z", class: "faint" }],
      ["path", { d: "M16 8v16h8M24 16h8v16H16v8M32 32v8M8 32h4" }],
    ],
    load: () => import("./boards/maze.js"),
  },
};

/** For games without a board. */
const OTHER = {
  icon: /** @type {[string, any][]} */ ([
    ["rect", { x: 8, y: 8, width: 32, height: 32, rx: 6, class: "faint" }],
    ["path", { d: "M15 18h18M15 24h12M15 30h15" }],
  ]),
  load: () => import("./boards/generic.js"),
};

/** @param {string} game */
export const titleOf = (game) =>
  KNOWN[game]?.title ?? game.charAt(0).toUpperCase() + game.slice(1);

/**
 * @param {string} game
 * @param {any} facts of the catalogue
 */
export const aboutOf = (game, facts) => KNOWN[game]?.about ?? facts?.about ?? "";

/** @param {string} game */
export const iconOf = (game) =>
  svg("0 0 48 48", (KNOWN[game] ?? OTHER).icon, "game-icon");

/** @param {string} game */
export const isKnown = (game) => game in KNOWN;

/** @param {string} game */
export const loadBoard = (game) => (KNOWN[game] ?? OTHER).load();

/** The order in which games are offered. @param {string[]} names */
export function inOrder(names) {
  const known = Object.keys(KNOWN);
  const rank = (/** @type {string} */ name) =>
    known.includes(name) ? known.indexOf(name) : -1;
  return names
    .filter((name) => name !== "roomecho")
    .sort((one, other) => rank(one) - rank(other) || one.localeCompare(other));
}
