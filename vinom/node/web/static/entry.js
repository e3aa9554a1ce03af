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
 */
export async function enterRoom(client, game, how, bots = 0) {
  try {
    const room = await client.join(game, how);
    // The room's view finds the room in `client.places`, and adds the bots.
    if (bots) sessionStorage.setItem("vinom.add_bots", `${room.roomId} ${bots}`);
    location.hash = addressOf(room.roomId, game);
  } catch (error) {
    toast(inWords(error));
  }
}

/** Play with anyone who is here, or wait for the next one. @param {Client} client @param {string} game */
export const playAnyone = (client, game) => enterRoom(client, game, {});

/** @param {Client} client @param {string} game */
export const playBot = (client, game) => enterRoom(client, game, { roomId: someRoom(), public: true }, 1);

/** Open a room for friends. @param {Client} client @param {string} game @param {any} [options] */
export const openRoom = (client, game, options) =>
  enterRoom(client, game, { roomId: someRoom(), public: true, ...(options ? { options } : {}) });
