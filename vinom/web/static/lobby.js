// @ts-check
/** The lobby: the games, the rooms and the matches. */

import { aboutOf, iconOf, inOrder, titleOf } from "./games.js";
import { optionsDialog } from "./options.js";
import { showMatches } from "./matches.js";
import { addressOf, button, h, inWords, plural, someRoom, swap, toast } from "./ui.js";

/** @type {Record<string, string>} */
const STATES = { gathering: "waiting for players", playing: "playing", over: "round over" };

/**
 * @param {{main: HTMLElement, client: import("./vinom.js").Client, catalogue: any}} shown
 * @returns {() => void} leaves the lobby
 */
export function showLobby({ main, client, catalogue }) {
  const games = h("ul.games");
  const list = h("ul.rooms");
  const count = h("span.muted");
  let isOver = false;

  /** @param {string} game @param {any} how @param {boolean} withBot */
  async function join(game, how, withBot = false) {
    try {
      const room = await client.join(game, how);
      // The room's view finds the room in `client.places`, and adds the bot.
      if (withBot) sessionStorage.setItem("vinom.add_bots", `${room.roomId} 1`);
      location.hash = addressOf(room.roomId, game);
    } catch (error) {
      toast(inWords(error));
    }
  }

  function showGames() {
    const names = client.games.length ? client.games : Object.keys(catalogue.games);
    swap(games, inOrder([...names]).map(card));
  }

  /** @param {string} game */
  function card(game) {
    const facts = catalogue.games[game];
    const seats = facts?.seats ?? [2, 2];
    const title = titleOf(game);
    const [fewest, most] = seats;
    const players = fewest === most ? plural(most, "player") : `${fewest}–${most} players`;
    return h(
      "li.card.game",
      null,
      iconOf(game),
      h("h3", null, title),
      h("p.muted.about", null, aboutOf(game, facts)),
      h("p.small.muted", null, players),
      h(
        "div.row",
        null,
        button("Play", () => join(game, {}), {
          class: "primary",
          "aria-label": `Play ${title}`,
          data: { key: `play ${game}` },
        }),
        facts?.has_bot &&
          button("With a bot", () => join(game, { roomId: someRoom(), public: true }, true), {
            "aria-label": `Play ${title} with a bot`,
            data: { key: `bot ${game}` },
          }),
        button("New room", () => newRoom(game, facts), {
          "aria-label": `New room for ${title}`,
          data: { key: `new ${game}` },
        }),
      ),
    );
  }

  /** @param {string} game @param {any} facts */
  function newRoom(game, facts) {
    const roomId = someRoom();
    optionsDialog(titleOf(game), facts?.options, (options) =>
      join(game, { roomId, public: true, ...(options ? { options } : {}) }),
    );
  }

  function showRooms() {
    const rooms = client.rooms.filter((one) => one.game !== "roomecho");
    count.textContent = rooms.length ? plural(rooms.length, "room") : "";
    if (!rooms.length) {
      swap(list, h("li.empty.muted", null, "No rooms yet. Open one above, and it appears here."));
      return;
    }
    rooms.sort((one, other) => Number(other.open) - Number(one.open));
    swap(list, rooms.map(row));
  }

  /** @param {import("./vinom.js").RoomFacts} room */
  function row(room) {
    const title = titleOf(room.game);
    const host = room.host ? `${room.host}’s ${title}` : title;
    const watching = room.spectators ? `, ${room.spectators} watching` : "";
    return h(
      "li.room-row",
      null,
      iconOf(room.game),
      h(
        "div.grow",
        null,
        h("strong", null, host),
        h(
          "p.small.muted",
          null,
          `${room.taken} of ${room.seats} seats, ${STATES[room.state]}${watching}`,
        ),
      ),
      client.places.has(room.room_id)
        ? h(
            "a.button.primary",
            {
              href: addressOf(room.room_id, room.game),
              "aria-label": `Return to ${host}`,
              data: { key: `join ${room.room_id}` },
            },
            "Return",
          )
        : watchOrJoin(room, host),
    );
  }

  /** @param {import("./vinom.js").RoomFacts} room @param {string} host */
  function watchOrJoin(room, host) {
    return [
      room.open &&
        h(
          "a.button.primary",
          {
            href: addressOf(room.room_id, room.game),
            "aria-label": `Join ${host}`,
            data: { key: `join ${room.room_id}` },
          },
          "Join",
        ),
      h(
        "a.button",
        {
          href: addressOf(room.room_id, room.game, true),
          "aria-label": `Watch ${host}`,
          data: { key: `watch ${room.room_id}` },
        },
        "Watch",
      ),
    ];
  }

  const matches = showMatches({ client, catalogue });
  main.replaceChildren(
    h("h1", null, "Play something"),
    h("p.lead.muted", null, "Pick a game, and play with anyone who is here, or invite a friend."),
    h("h2.unseen", null, "Games"),
    games,
    h(
      "div.lists",
      null,
      h(
        "section",
        { "aria-labelledby": "rooms-title" },
        h("div.heading", null, h("h2", { id: "rooms-title" }, "Rooms"), count),
        h("p.muted.about", null, "Opened by players: join one, or watch."),
        h("div.card.flush", null, list),
      ),
      matches.element,
    ),
  );
  showGames();
  showRooms();
  const off = client.on("rooms", showRooms);
  client.ready.then(
    () => {
      if (!isOver) showGames();
    },
    () => {},
  );
  client.watchRooms().catch(() => {});
  return () => {
    isOver = true;
    off();
    matches.stop();
    client.unwatchRooms().catch(() => {});
  };
}
