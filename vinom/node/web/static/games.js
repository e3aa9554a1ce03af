// @ts-check
/** What the server says of its games: title, text, icon, colours, and where the board is. */

import { COLOURS, h, svg } from "./ui.js";

/**
 * @typedef {object} Look What /games.json says of a game; see `vinom.play.presentation`.
 * @property {string} title
 * @property {string} about
 * @property {string} rules paragraphs, with blank lines between them; may be empty
 * @property {string[]} colours of the seats; empty for the page's own
 * @property {string | null} icon address of an image
 * @property {string | null} board address of the module that draws the game
 */

/** @type {Record<string, Look>} */
let looks = {};

/** Use what the server said. @param {Record<string, any>} games of /games.json */
export function learnGames(games) {
  looks = games;
}

/** @param {string} game */
export const titleOf = (game) =>
  looks[game]?.title ?? game.charAt(0).toUpperCase() + game.slice(1);

/** @param {string} game */
export const aboutOf = (game) => looks[game]?.about ?? "";

/** How to play, a paragraph each. @param {string} game */
export const rulesOf = (game) =>
  (looks[game]?.rules ?? "").split(/\n\s*\n/).map((one) => one.replace(/\s+/g, " ").trim()).filter(Boolean);

/** The colour of a seat in this game. @param {string} game @param {number} seat */
export function colourIn(game, seat) {
  const own = looks[game]?.colours ?? [];
  const colours = own.length ? own : COLOURS;
  return colours[seat % colours.length];
}

/** @param {string} game */
export function iconOf(game) {
  const address = looks[game]?.icon;
  if (address) return h("img.game-icon", { src: address, alt: "", width: 48, height: 48 });
  return svg(
    "0 0 48 48",
    [
      ["rect", { x: 8, y: 8, width: 32, height: 32, rx: 6, class: "faint" }],
      ["path", { d: "M15 18h18M15 24h12M15 30h15" }],
    ],
    "game-icon",
  );
}

/** Has the game a board? Others have the generic page. @param {string} game */
export const hasBoard = (game) => Boolean(looks[game]?.board);

/** The board of any game: its view as data, and forms for its actions. */
export const loadGeneric = () => import("./boards/generic.js");

/**
 * Load the module that draws a game, and its style.
 *
 * @param {string} game
 * @returns {Promise<{mount: import("./boards/parts.js").Mount, stop: () => void}>} `stop`
 *   removes the style
 */
export async function loadBoard(game) {
  const address = looks[game]?.board;
  if (!address) return { mount: (await loadGeneric()).mount, stop: () => {} };
  const url = new URL(address, document.baseURI);
  const made = await import(url.href);
  if (typeof made.mount !== "function") {
    throw new TypeError(`${address} must export a function mount(context)`);
  }
  const stop = made.style ? await useStyle(new URL(made.style, url)) : () => {};
  return { mount: made.mount, stop };
}

/** @param {URL} url @returns {Promise<() => void>} removes it */
function useStyle(url) {
  const link = h("link", { rel: "stylesheet", href: url.href });
  return new Promise((resolve, reject) => {
    link.addEventListener("load", () => resolve(() => link.remove()));
    link.addEventListener("error", () => {
      link.remove();
      reject(new Error(`${url.pathname} can’t be loaded; is it in board_files?`));
    });
    document.head.append(link);
  });
}

/** The order in which games are offered: the server's. @param {string[]} names */
export function inOrder(names) {
  const order = Object.keys(looks);
  const rank = (/** @type {string} */ name) =>
    order.includes(name) ? order.indexOf(name) : order.length;
  return names
    .filter((name) => name !== "roomecho")
    .sort((one, other) => rank(one) - rank(other) || one.localeCompare(other));
}
