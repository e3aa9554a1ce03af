// @ts-check
/** The page: connect, follow the address, show the lobby or a room. */

import { Client } from "./vinom.js";
import { learnGames } from "./games.js";
import { keepPlayer, takeKept } from "./kept.js";
import { showLobby } from "./lobby.js";
import { joinByLink, watchOffers } from "./party.js";
import { showRoom } from "./room.js";
import { watchDevelopment } from "./dev.js";
import { makeSwitch } from "./sound.js";
import { button, h, inWords, someName, toast } from "./ui.js";

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const connection = /** @type {HTMLElement} */ (document.getElementById("connection"));
const me = /** @type {HTMLButtonElement} */ (document.getElementById("me"));

/** The games of the server: see `vinom.node.web.pages`. @type {any} */
let catalogue = { games: {} };
/** @type {Client} */
let client;
/** Stops the view that is shown, and removes its listeners. @type {() => void} */
let leave = () => {};
/** @type {any} */
let ticking;
/** @type {any} */
let keeping;

/** Read the address: `#room=…&game=…` is a room, `&watch=1` watches it; otherwise the lobby. */
function place() {
  const found = new URLSearchParams(location.hash.slice(1));
  return {
    room: found.get("room"),
    game: found.get("game"),
    watch: found.get("watch") === "1",
  };
}

function open() {
  const name = sessionStorage.getItem("vinom.name") ?? someName();
  sessionStorage.setItem("vinom.name", name);
  client = new Client({ name, storage: sessionStorage });
  client.on("status", showStatus);
  watchOffers(client);
  client.on("error", (error) => {
    if (client.status === "refused") showRefused(error);
    else if (client.status !== "replaced") toast(inWords(error));
  });
  client.ready.then(() => {
    me.hidden = false;
    me.textContent = client.name;
    me.setAttribute("aria-label", `You are ${client.name}. Change your name`);
  }, () => {});
  showStatus();
}

function showStatus() {
  clearInterval(ticking);
  const { status } = client;
  connection.dataset.status = document.documentElement.dataset.status = status;
  if (status === "online") connection.replaceChildren(h("span", null, "Connected"));
  else if (status === "connecting") connection.replaceChildren("Connecting…");
  else if (status === "waiting") {
    const wait = h("span", { "aria-hidden": "true" });
    const tick = () => {
      const left = Math.ceil((client.retryAt - Date.now()) / 1000);
      wait.textContent = left > 0 ? ` Retrying in ${left} s.` : "";
    };
    tick();
    ticking = setInterval(tick, 500);
    const now = button("Try now", () => client.retryNow(), { class: "link" });
    connection.replaceChildren("Connection lost.", wait, " ", now);
  } else if (status === "replaced") {
    connection.replaceChildren("Open in another tab");
    showReplaced();
  } else connection.replaceChildren("Not connected");
}

/** @param {import("./vinom.js").VinomError} error */
function showRefused(error) {
  leave();
  leave = () => {};
  // A server without guests, or of another version, refuses every name.
  const isOfName = !["unauthorized", "protocol_unsupported"].includes(error.code);
  main.replaceChildren(
    h(
      "section.card.notice",
      null,
      h("h1", null, "You can’t join"),
      h("p", null, inWords(error)),
      isOfName
        ? button("Choose another name", askName, { class: "primary" })
        : button("Try again", () => location.reload(), { class: "primary" }),
    ),
  );
}

function showReplaced() {
  leave();
  leave = () => {};
  main.replaceChildren(
    h(
      "section.card.notice",
      null,
      h("h1", null, "You’re playing in another tab"),
      h("p", null, "You can only play in one tab at a time, so this one is disconnected."),
      button("Play here instead", () => location.reload(), { class: "primary" }),
    ),
  );
}

/** Ask for another name. It makes another player, so nobody can change it in a room: the seat would be lost. */
function askName() {
  const field = h("input", {
    id: "name-field",
    maxlength: 24,
    required: true,
    autocomplete: "nickname",
    value: client.name || sessionStorage.getItem("vinom.name"),
  });
  const inRoom = place().room !== null && client.places.size > 0;
  /** @param {Event} event */
  const take = (event) => {
    event.preventDefault();
    const name = field.value.trim();
    dialog.close();
    if (!name || name === client.name) return;
    sessionStorage.setItem("vinom.name", name);
    sessionStorage.removeItem("vinom.player_key");
    client.close();
    leave();
    open();
    follow();
  };
  const dialog = h(
    "dialog.card",
    { "aria-labelledby": "name-title", onclose: () => dialog.remove() },
    h(
      "form",
      { method: "dialog", onsubmit: take },
      h("h2", { id: "name-title" }, "Your name"),
      inRoom && h("p", null, "Leave the room first: a new name makes you a new player."),
      h("label", { for: "name-field" }, "Other players see this name"),
      field,
      h(
        "div.row.end",
        null,
        button("Cancel", () => dialog.close()),
        h("button.primary", { type: "submit", disabled: inRoom }, "Save"),
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  field.select();
}

function follow() {
  if (client.status === "refused" || client.status === "replaced") return;
  leave();
  joinByLink(client);
  clearTimeout(keeping);
  // By then the room has been joined.
  keeping = setTimeout(() => keepPlayer(client), 2000);
  const { room, game, watch } = place();
  const shown = { main, client, catalogue };
  if (room === null) {
    document.title = "Vinom";
    leave = showLobby(shown);
  } else leave = showRoom(shown, { room, game, watch });
  scrollTo(0, 0);
}

/** Ask for the games, again and again if the server does not answer: boards and forms need them. */
async function learn() {
  for (let pause = 500; ; pause = Math.min(2 * pause, 8000)) {
    try {
      const answer = await fetch("games.json");
      catalogue = await answer.json();
      learnGames(catalogue.games);
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

async function begin() {
  await takeKept();
  open();
  me.addEventListener("click", askName);
  makeSwitch(/** @type {HTMLElement} */ (document.getElementById("sound")));
  await learn();
  if (catalogue.dev) watchDevelopment(catalogue.dev);
  addEventListener("hashchange", (event) => {
    // The skip link sets this hash; it is not an address of the page.
    if (location.hash === "#main") {
      main.focus();
      history.replaceState(null, "", event.oldURL);
      return;
    }
    follow();
  });
  follow();
}

begin();
