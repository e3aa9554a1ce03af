// @ts-check
/** What happens now: rooms and matches in one list, and the queue for the next match. */

import { iconOf, titleOf } from "./games.js";
import { addressOf, button, h, inWords, plural, say, swap, toast } from "./ui.js";

/** @type {Record<string, string>} */
const STATES = { gathering: "waiting for players", playing: "playing", over: "between rounds" };
/** @type {Record<string, string>} */
const MATCH_STATES = { gathering: "about to begin", playing: "playing", over: "just over" };

/** How often the games that sleep are asked for, ms. */
const OWN_PAUSE = 20000;

/** @typedef {import("./vinom.js").RoomFacts} RoomFacts */
/** @typedef {import("./vinom.js").OwnGame} OwnGame */

/**
 * Say in a few words how a game of the player is, and how long there is time.
 *
 * @param {OwnGame} game
 */
export function ownWords({ state, seat, players, is_turn, due }) {
  const others = players.filter((one) => one.seat !== seat).map((one) => one.name);
  const who = others.length ? `With ${others.join(", ")}: ` : "";
  if (state === "gathering") return `${who}waiting for players`;
  if (state === "over") return `${who}the round is over`;
  const left = due === null ? "" : `, ${longTime(due)} left`;
  return `${who}${is_turn ? "your turn" : "not your turn"}${left}`;
}

/** @param {number} seconds */
function longTime(seconds) {
  if (seconds >= 2 * 86400) return plural(Math.floor(seconds / 86400), "day");
  if (seconds >= 2 * 3600) return plural(Math.floor(seconds / 3600), "hour");
  return plural(Math.ceil(seconds / 60), "minute");
}

/**
 * Sort rooms: those with a free seat first, those where nobody is connected last.
 *
 * @param {RoomFacts[]} rooms
 */
export const inRank = (rooms) =>
  [...rooms].sort((one, other) => rankOf(one) - rankOf(other));

/** @param {RoomFacts} room */
const rankOf = ({ open, connected }) => (connected === 0 ? 2 : open ? 0 : 1);

/**
 * Say in a few words how a room is.
 *
 * @param {RoomFacts} room
 */
export function roomWords({ connected, taken, seats, state, spectators }) {
  if (connected === 0) return "Everyone is away";
  const watching = spectators ? `, ${spectators} watching` : "";
  return `${taken} of ${seats} seats, ${STATES[state]}${watching}`;
}

/**
 * @param {{client: import("./vinom.js").Client, catalogue: any}} shown
 */
export function showHappening({ client }) {
  const list = h("ul.rooms");
  const ownList = h("ul.rooms");
  const yours = h(
    "section.yours",
    { "aria-labelledby": "yours-title", hidden: true },
    h("h2", { id: "yours-title" }, "Your games"),
    h("div.card.flush", null, ownList),
  );
  const count = h("span.muted");
  const waiting = h("div.queue-box");
  const now = button("", () => element.scrollIntoView({ behavior: "smooth" }), { class: "now", hidden: true });
  const element = h(
    "section",
    { "aria-labelledby": "happening-title" },
    h("div.heading", null, h("h2", { id: "happening-title" }, "Happening now"), count),
    h("div.card.flush", null, list),
  );
  /** @type {RoomFacts[]} */
  let matches = [];
  /** @type {OwnGame[]} */
  let own = [];
  let isWaiting = false;
  let isOver = false;

  /** @param {string} game */
  async function queue(game) {
    if (isWaiting) return;
    isWaiting = true;
    showQueue();
    waiting.scrollIntoView?.({ block: "nearest" });
    try {
      const room = await client.queue(game);
      if (!isOver) location.hash = addressOf(room.roomId, room.game);
    } catch (/** @type {any} */ error) {
      if (!isOver && error.code !== "cancelled") toast(inWords(error));
    } finally {
      isWaiting = false;
      if (!isOver) showQueue();
    }
  }

  const cancel = () => client.cancelQueue().catch((error) => toast(inWords(error)));

  function showQueue() {
    const { queued } = client;
    if (!isWaiting) {
      // Nothing of the wait may stay behind, for screen readers either.
      say("");
      swap(waiting);
      return;
    }
    const title = queued ? titleOf(queued.game) : "";
    const words = !queued
      ? "Looking for players…"
      : queued.problem
        ? `A match of ${title} waits: ${queued.problem}.`
        : queued.state === "matched"
          ? `Preparing a match of ${title}…`
          : `Waiting for others to play ${title}. You are number ${queued.position ?? 1} in line.`;
    say(words);
    swap(
      waiting,
      h("div.card.queue", null, h("p", null, words), button("Stop waiting", cancel, { data: { key: "queue" } })),
    );
  }

  function showList() {
    const rooms = inRank(client.rooms.filter((one) => one.game !== "roomecho"));
    const listed = new Set(rooms.map((one) => one.room_id));
    const asleep = own.filter((one) => !listed.has(one.room_id) && one.room_id !== client.match?.match_id);
    const mine = client.match;
    // Our own match is listed apart: the list may not have it.
    const others = matches.filter((one) => one.room_id !== mine?.match_id);
    const rows = [mine && ours(mine), ...rooms.map(roomRow), ...others.map(matchRow)].filter(Boolean);
    yours.hidden = asleep.length === 0;
    swap(ownList, asleep.map(ownRow));
    const alive = rooms.filter((one) => one.connected > 0).length + others.length;
    now.hidden = alive === 0;
    now.textContent = `${plural(alive, "game")} now`;
    count.textContent = rows.length ? plural(rows.length, "game") : "";
    swap(list, rows.length ? rows : h("li.empty.muted", null, "Nobody is playing right now. Press Play to be the first."));
  }

  /**
   * @param {string} game
   * @param {string} title
   * @param {string} about
   * @param {any} ways
   * @param {boolean} [isAway]
   */
  const row = (game, title, about, ways, isAway = false) =>
    h(
      `li.room-row${isAway ? ".away" : ""}`,
      null,
      iconOf(game),
      h("div.grow", null, h("strong.name", null, title), h("p.small.muted", null, about)),
      ways,
    );

  /** @param {string} href @param {string} words @param {string} label @param {string} key @param {string} [look] */
  const way = (href, words, label, key, look = "") =>
    h(`a.button${look}`, { href, "aria-label": label, data: { key } }, words);

  /** @param {import("./vinom.js").FoundMatch} match */
  function ours({ match_id, game }) {
    const title = `your ${titleOf(game)} match`;
    const back = way(addressOf(match_id, game), "Return", `Return to ${title}`, `match ${match_id}`, ".primary");
    return row(game, `Y${title.slice(1)}`, "Your seat is kept.", back);
  }

  /** @param {OwnGame} one */
  function ownRow(one) {
    const title = `your ${titleOf(one.game)}`;
    const look = one.is_turn ? ".primary" : "";
    const back = way(addressOf(one.room_id, one.game), "Return", `Return to ${title}`, `own ${one.room_id}`, look);
    return row(one.game, `Y${title.slice(1)}`, ownWords(one), back);
  }

  const findOwn = () =>
    client.myGames().then(
      (found) => {
        own = found;
        if (!isOver) showList();
      },
      () => {},
    );

  /** @param {RoomFacts} room */
  function roomRow(room) {
    const { room_id: id, game, host, open, connected } = room;
    const title = host ? `${host}’s ${titleOf(game)}` : titleOf(game);
    const key = `join ${id}`;
    const ways = client.places.has(id)
      ? way(addressOf(id, game), "Return", `Return to ${title}`, key, ".primary")
      : connected !== 0 && [
          open && way(addressOf(id, game), "Join", `Join ${title}`, key, ".primary"),
          way(addressOf(id, game, true), "Watch", `Watch ${title}`, `watch ${id}`),
        ];
    return row(game, title, roomWords(room), ways, connected === 0);
  }

  /** @param {RoomFacts} match */
  function matchRow(match) {
    const { room_id: id, game, taken, state, spectators } = match;
    const title = `${titleOf(game)} match ${id.slice(0, 4)}`;
    const watching = spectators ? `, ${spectators} watching` : "";
    const about = `${plural(taken, "player")}, ${MATCH_STATES[state]}${watching}`;
    return row(game, title, about, way(addressOf(id, game, true), "Watch", `Watch ${title}`, `match ${id}`));
  }

  function follow() {
    // The page was reloaded while we waited, and the server kept our place.
    if (client.queued && !isWaiting) queue(client.queued.game);
    else showQueue();
  }

  const undo = [
    client.on("rooms", showList),
    client.on("queue", follow),
    client.on("match", showList),
    client.on("matches", (listed) => {
      matches = listed;
      showList();
    }),
  ];
  const asking = setInterval(findOwn, OWN_PAUSE);
  client.ready.then(
    () => {
      if (isOver) return;
      findOwn();
      if (!isWaiting) showQueue();
    },
    () => {},
  );
  // The client repeats these requests itself after each reconnection.
  client.watchRooms().catch(() => {});
  client.watchMatches().catch(() => {});
  follow();
  showList();

  return {
    waiting,
    queue,
    now,
    yours,
    element,
    stop() {
      isOver = true;
      clearInterval(asking);
      for (const one of undo) one();
      say("");
      client.unwatchRooms().catch(() => {});
      client.unwatchMatches().catch(() => {});
      if (isWaiting) client.cancelQueue().catch(() => {});
    },
  };
}
