// @ts-check
/** Ways into a room, from the lobby and from a game that is over. */

import { addressOf, inWords, someRoom, toast } from "./ui.js";

/** @typedef {import("./vinom.js").Client} Client */

/**
 * Join a room and show it; a failure is shown as well.
 *
 * @param {Client} client
 * @param {string} game
 * @param {import("./vinom.js").JoinOptions} how
 * @param {number} [bots] how many bots to add
 * @param {string} [level] of the bots
 */
export async function enterRoom(client, game, how, bots = 0, level = "") {
  try {
    const room = await client.join(game, how);
    // The room's view finds the room in `client.places`, and adds the bots.
    if (bots) sessionStorage.setItem("vinom.add_bots", `${room.roomId} ${bots} ${level}`.trim());
    location.hash = addressOf(room.roomId, game);
  } catch (error) {
    toast(inWords(error));
  }
}

/** Play with anyone who is here, or wait for the next one. @param {Client} client @param {string} game */
export const playAnyone = (client, game) => enterRoom(client, game, {});

/** @param {any} facts of a game @returns {string[]} the levels of its bot; an empty name if it has no levels */
export const botLevels = (facts) => (!facts?.has_bot ? [] : facts.levels?.length ? facts.levels : [""]);

/** @param {Client} client @param {string} game @param {string} [level] */
export const playBot = (client, game, level = "") =>
  enterRoom(client, game, { roomId: someRoom(), public: true }, 1, level);

/** Open a room for friends. @param {Client} client @param {string} game @param {any} [options] */
export const openRoom = (client, game, options) =>
  enterRoom(client, game, { roomId: someRoom(), public: true, ...(options ? { options } : {}) });
