// @ts-check
/** Matches: the running ones, to watch, and the queue for the next one. */

import { iconOf, inOrder, titleOf } from "./games.js";
import { addressOf, button, h, inWords, plural, say, swap, toast } from "./ui.js";

/** @type {Record<string, string>} */
const STATES = { gathering: "about to begin", playing: "playing", over: "just over" };

/**
 * @param {{client: import("./vinom.js").Client, catalogue: any}} shown
 * @returns {{element: any, stop: () => void}}
 */
export function showMatches({ client, catalogue }) {
  const list = h("ul.rooms");
  const queue = h("div.queue");
  const pick = h("select", { id: "match-game", data: { key: "match-game" } });
  /** @type {import("./vinom.js").RoomFacts[]} */
  let matches = [];
  let isWaiting = false;
  let isOver = false;

  /** @param {string} game */
  async function wait(game) {
    if (isWaiting) return;
    isWaiting = true;
    showQueue();
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
    if (isWaiting) {
      const title = queued ? titleOf(queued.game) : "";
      const words = !queued
        ? "Entering the queue…"
        : queued.state === "matched"
          ? `Preparing a match of ${title}…`
          : `Waiting for others to play ${title}. You are number ${queued.position ?? 1} in the queue.`;
      say(words);
      swap(queue, h("p", null, words), button("Stop waiting", cancel, { data: { key: "queue" } }));
      return;
    }
    const names = client.games.length ? client.games : Object.keys(catalogue.games);
    const chosen = pick.value || "maze";
    pick.replaceChildren(
      ...inOrder([...names]).map((game) => h("option", { value: game }, titleOf(game))),
    );
    if (names.includes(chosen)) pick.value = chosen;
    swap(
      queue,
      h("label", { for: "match-game" }, "Queue for"),
      pick,
      button("Find a match", () => wait(pick.value), { class: "primary", data: { key: "queue" } }),
    );
  }

  function showList() {
    const mine = client.match;
    // Our own match is listed apart: the list may not have it.
    const others = matches.filter((one) => one.room_id !== mine?.match_id);
    const rows = others.map(row);
    if (mine) rows.unshift(ours(mine));
    swap(list, rows.length ? rows : h("li.empty.muted", null, "No matches right now."));
  }

  /** @param {import("./vinom.js").FoundMatch} match */
  function ours({ match_id, game }) {
    const title = titleOf(game);
    return h(
      "li.room-row",
      null,
      iconOf(game),
      h("div.grow", null, h("strong", null, `Your ${title} match`), h("p.small.muted", null, "Your seat is kept.")),
      h("a.button.primary", {
        href: addressOf(match_id, game),
        "aria-label": `Return to your ${title} match`,
        data: { key: `match ${match_id}` },
      }, "Return"),
    );
  }

  /** @param {import("./vinom.js").RoomFacts} match */
  function row(match) {
    const title = titleOf(match.game);
    const watching = match.spectators ? `, ${match.spectators} watching` : "";
    return h(
      "li.room-row",
      null,
      iconOf(match.game),
      h(
        "div.grow",
        null,
        h("strong", null, `${title} match ${match.room_id.slice(0, 4)}`),
        h("p.small.muted", null, `${plural(match.taken, "player")}, ${STATES[match.state]}${watching}`),
      ),
      h("a.button", {
        href: addressOf(match.room_id, match.game, true),
        "aria-label": `Watch ${title} match ${match.room_id.slice(0, 4)}`,
        data: { key: `match ${match.room_id}` },
      }, "Watch"),
    );
  }

  function follow() {
    // The page was reloaded while we waited, and the server kept our place.
    if (client.queued && !isWaiting) wait(client.queued.game);
    else showQueue();
  }

  const undo = [
    client.on("queue", follow),
    client.on("match", showList),
    client.on("matches", (listed) => {
      matches = listed;
      showList();
    }),
  ];
  client.ready.then(
    () => {
      if (isOver) return;
      if (!isWaiting) showQueue();
    },
    () => {},
  );
  // The client repeats this request itself after each reconnection.
  client.watchMatches().catch(() => {});
  follow();
  showList();

  return {
    element: h(
      "section",
      { "aria-labelledby": "matches-title" },
      h("div.heading", null, h("h2", { id: "matches-title" }, "Matches")),
      h("p.muted.about", null, "Play with everyone in the queue, in browsers or over UDP."),
      h("div.card.flush", null, queue, list),
    ),
    stop() {
      isOver = true;
      for (const one of undo) one();
      client.unwatchMatches().catch(() => {});
      if (isWaiting) client.cancelQueue().catch(() => {});
    },
  };
}
