// @ts-check
/** The lobby: the games, and what is being played. */

import { botLevels, openRoom, playAnyone, playBot } from "./entry.js";
import { aboutOf, inOrder, rulesOf, titleOf } from "./games.js";
import { showHappening } from "./happening.js";
import { menu } from "./menu.js";
import { optionsDialog } from "./options.js";
import { showParty } from "./party.js";
import { makePreviews } from "./previews.js";
import { button, h, plural, swap } from "./ui.js";

/**
 * @param {{main: HTMLElement, client: import("./vinom.js").Client, catalogue: any}} shown
 * @returns {() => void} leaves the lobby
 */
export function showLobby({ main, client, catalogue }) {
  const games = h("ul.games");
  const happening = showHappening({ client, catalogue });
  const party = showParty({ client, catalogue, queue: happening.queue });
  const previews = makePreviews(client, catalogue);
  let isOver = false;

  function showGames() {
    const names = client.games.length ? client.games : Object.keys(catalogue.games);
    swap(games, inOrder([...names]).map(card));
  }

  /** @param {string} game */
  function card(game) {
    const facts = catalogue.games[game];
    const title = titleOf(game);
    const [fewest, most] = facts?.seats ?? [2, 2];
    const players = fewest === most ? plural(most, "player") : `${fewest}–${most} players`;
    return h(
      "li.card.game",
      null,
      h("div.preview", { "aria-hidden": "true" }, previews.of(game)),
      h("div.title-line", null, h("h3", null, title), h("span.small.muted", null, players)),
      h("p.muted.about", null, aboutOf(game)),
      h(
        "div.row",
        null,
        button("Play", () => playAnyone(client, game), {
          class: "primary",
          "aria-label": `Play ${title}`,
          data: { key: `play ${game}` },
        }),
        menu(`More for ${title}`, [
          ...botLevels(facts).map((level, place) => ({
            label: `Play ${title} with a bot${place ? `: ${level}` : ""}`,
            words: `With a bot${place ? `: ${level}` : ""}`,
            about: `Start at once, against the computer${level && ` (${level})`}.`,
            press: () => playBot(client, game, level),
          })),
          {
            label: `Play ${title} with friends`,
            words: "With friends",
            about: "Open a room, choose the options and send the link.",
            press: () => optionsDialog(title, facts?.options, (options) => openRoom(client, game, options)),
          },
          {
            label: `Find a match of ${title}`,
            words: "Find a match",
            about: "Wait for players of about your level.",
            press: () => happening.queue(game),
          },
          rulesOf(game).length > 0 && {
            label: `How to play ${title}`,
            words: "How to play",
            about: "Read the rules.",
            press: () => showRules(title, rulesOf(game)),
          },
        ]),
      ),
    );
  }

  main.replaceChildren(
    h("h1", null, "Play something"),
    h("p.lead.muted", null, "Press Play to find an opponent, or invite a friend.", happening.now),
    happening.waiting,
    party.element,
    happening.yours,
    h("h2.unseen", null, "Games"),
    games,
    happening.element,
  );
  showGames();
  client.ready.then(
    () => {
      if (!isOver) showGames();
    },
    () => {},
  );
  const again = sessionStorage.getItem("vinom.queue_for");
  sessionStorage.removeItem("vinom.queue_for");
  if (again) happening.queue(again);
  return () => {
    isOver = true;
    previews.stop();
    party.stop();
    happening.stop();
  };
}

/** @param {string} title @param {string[]} paragraphs */
function showRules(title, paragraphs) {
  const dialog = h(
    "dialog.card",
    { "aria-labelledby": "rules-title", onclose: () => dialog.remove() },
    h("h2", { id: "rules-title" }, `How to play ${title}`),
    h("div.rules", null, paragraphs.map((words) => h("p", null, words))),
    h("div.row.end", null, button("Close", () => dialog.close(), { class: "primary" })),
  );
  document.body.append(dialog);
  dialog.showModal();
}
