// @ts-check
/** Pictures of the games' boards, live while somebody plays. */

import { colourIn, hasBoard, iconOf, loadBoard } from "./games.js";
import { h, swap } from "./ui.js";

/** The time between two requests, milliseconds: they take turns over the rooms that are shown. */
const PAUSE = 1500;
/** The same while a moving field is shown, which gets every other request. */
const SHORT_PAUSE = 750;

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

/**
 * Choose the game to ask for next. A moving field is asked for every other time, or it would
 * hardly move.
 *
 * @param {string[]} still games that change only when somebody plays
 * @param {string[]} moving
 * @param {number} turn counts the requests
 */
export function nextToShow(still, moving, turn) {
  const half = Math.floor(turn / 2);
  if (!moving.length) return still[turn % still.length];
  if (!still.length) return moving[turn % moving.length];
  return turn % 2 ? still[half % still.length] : moving[half % moving.length];
}

/**
 * Keep a board as large as its frame allows.
 *
 * @param {HTMLElement} frame
 * @param {HTMLElement} element
 * @returns {() => void} stops it
 */
function fitInto(frame, element) {
  const watching = new ResizeObserver(() => {
    const { offsetWidth: width, offsetHeight: height } = element;
    if (!width || !height) return;
    const scale = Math.min(1, (0.92 * frame.clientWidth) / width, (0.92 * frame.clientHeight) / height);
    element.style.transform = `translate(-50%, -50%) scale(${scale.toFixed(3)})`;
  });
  watching.observe(frame);
  watching.observe(element);
  return () => watching.disconnect();
}

/** @typedef {{roomId: string, room: any, board: any, made: any, changed: () => void, stop: () => void}} Shown */

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
  const isMovingGame = (game) => Boolean(catalogue.games[game]?.tick_hz);

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
    one.stop();
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
    const facts = { ...peek, roomId: peek.room_id, seat: null, outcome: null, former: [], acked: 0, bytes: 0, receivedAt: performance.now() };
    if (one) {
      Object.assign(one.room, facts);
      one.changed();
      return;
    }
    const made = await loadBoard(game);
    if (isOver || shown.has(game)) {
      made.stop();
      return;
    }
    /** @type {(() => void)[]} */
    const heard = [];
    const on = (/** @type {string} */ kind, /** @type {() => void} */ call) => {
      if (kind === "state") heard.push(call);
      return () => {};
    };
    const room = /** @type {any} */ ({ ...facts, on, act: () => Promise.resolve() });
    const board = made.mount({
      room,
      facts: catalogue.games[game] ?? {},
      act: () => Promise.resolve(),
      every: (2 * SHORT_PAUSE * (1 + [...shown.keys()].filter(isMovingGame).length)) / 1000,
      nameOf: (seat) => room.players.find((/** @type {any} */ who) => who.seat === seat)?.name ?? "",
      colourOf: (seat) => colourIn(game, seat),
      hint: () => {},
      note: () => {},
      say: () => {},
    });
    const changed = () => {
      for (const call of heard) call();
      board.update();
    };
    changed();
    const element = h("div.preview-board", { inert: true }, board.element);
    swap(frame(game), element, h("span.live", null, "live"));
    shown.set(game, { roomId: peek.room_id, room, board, made, changed, stop: fitInto(frame(game), element) });
  }

  async function look() {
    timer = setTimeout(look, [...shown.keys()].some(isMovingGame) ? SHORT_PAUSE : PAUSE);
    const rooms = roomsToShow(client.rooms);
    for (const game of [...shown.keys()]) if (!rooms.has(game)) clear(game);
    const drawn = [...rooms.keys()].filter(hasBoard);
    if (!drawn.length || document.hidden || client.status !== "online") return;
    turn += 1;
    const game = nextToShow(drawn.filter((one) => !isMovingGame(one)), drawn.filter(isMovingGame), turn);
    const roomId = rooms.get(game) ?? "";
    try {
      const peek = await client.peek(roomId);
      if (!isOver) await show(peek);
    } catch {
      // The room has closed, or its board fails: the icon will do.
      clear(game);
    }
  }

  let timer = setTimeout(look, PAUSE);
  const first = client.on("rooms", () => {
    first();
    clearTimeout(timer);
    look();
  });

  return {
    /** @param {string} game */
    of: frame,
    stop() {
      isOver = true;
      clearTimeout(timer);
      first();
      for (const game of [...shown.keys()]) clear(game);
    },
  };
}
