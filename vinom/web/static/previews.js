// @ts-check
/** Pictures of the games' boards, live while somebody plays. */

import { colourIn, hasBoard, iconOf, loadBoard } from "./games.js";
import { h, swap } from "./ui.js";

/** One room is asked for at a time, milliseconds apart. */
const PAUSE = 1500;

/**
 * Choose the room to show for each game: one that is played, with somebody connected.
 *
 * @param {import("./vinom.js").RoomFacts[]} rooms
 * @returns {Map<string, string>} ids of rooms, by game
 */
export function roomsToShow(rooms) {
  /** @type {Map<string, string>} */
  const chosen = new Map();
  for (const { room_id, game, state, connected } of rooms) {
    if (state === "playing" && connected > 0 && !chosen.has(game)) chosen.set(game, room_id);
  }
  return chosen;
}

/** @typedef {{roomId: string, room: any, board: any, made: any, element: any}} Shown */

/**
 * @param {import("./vinom.js").Client} client
 * @param {any} catalogue
 */
export function makePreviews(client, catalogue) {
  /** @type {Map<string, any>} The frames on the cards, by game. */
  const frames = new Map();
  /** @type {Map<string, Shown>} */
  const shown = new Map();
  let turn = 0;
  let isOver = false;

  /** @param {string} game */
  function frame(game) {
    const found = frames.get(game) ?? h("div.preview-frame", null, iconOf(game));
    frames.set(game, found);
    return found;
  }

  /** Take a board away that is no longer played on. @param {string} game */
  function clear(game) {
    const one = shown.get(game);
    if (!one) return;
    shown.delete(game);
    one.board.stop?.();
    one.made.stop();
    swap(frame(game), iconOf(game));
  }

  /** @param {import("./vinom.js").Peek} peek */
  async function show(peek) {
    const { game } = peek;
    let one = shown.get(game);
    if (one && one.roomId !== peek.room_id) {
      clear(game);
      one = undefined;
    }
    if (peek.view === null) {
      clear(game);
      return;
    }
    const facts = { ...peek, roomId: peek.room_id, seat: null, outcome: null, former: [], receivedAt: performance.now(), on: () => () => {}, act: () => Promise.resolve() };
    if (one) {
      Object.assign(one.room, facts);
      one.board.update();
      return;
    }
    const made = await loadBoard(game);
    if (isOver || shown.has(game)) {
      made.stop();
      return;
    }
    const room = /** @type {any} */ (facts);
    const board = made.mount({
      room,
      facts: catalogue.games[game] ?? {},
      act: () => Promise.resolve(),
      nameOf: (seat) => room.players.find((/** @type {any} */ who) => who.seat === seat)?.name ?? "",
      colourOf: (seat) => colourIn(game, seat),
      hint: () => {},
      note: () => {},
      say: () => {},
    });
    board.update();
    const element = h("div.preview-board", { inert: true }, board.element);
    shown.set(game, { roomId: peek.room_id, room, board, made, element });
    swap(frame(game), element, h("span.live", null, "live"));
  }

  async function look() {
    const rooms = roomsToShow(client.rooms);
    for (const game of [...shown.keys()]) if (!rooms.has(game)) clear(game);
    // Moving fields would need every state: their cards show the icon.
    const drawn = [...rooms].filter(([game]) => hasBoard(game) && !catalogue.games[game]?.tick_hz);
    if (!drawn.length || document.hidden || client.status !== "online") return;
    turn = (turn + 1) % drawn.length;
    const [game, roomId] = drawn[turn];
    try {
      const peek = await client.peek(roomId);
      if (!isOver) await show(peek);
    } catch {
      // The room has closed, or its board fails: the icon will do.
      clear(game);
    }
  }

  const timer = setInterval(look, PAUSE);
  const first = client.on("rooms", () => {
    first();
    look();
  });

  return {
    /** @param {string} game */
    of: frame,
    stop() {
      isOver = true;
      clearInterval(timer);
      first();
      for (const game of [...shown.keys()]) clear(game);
    },
  };
}
