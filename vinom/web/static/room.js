// @ts-check
/** A room: its players, its board, and the buttons for both. */

import { iconOf, isKnown, loadBoard, titleOf } from "./games.js";
import { addressOf, button, dot, h, inWords, plural, say, someRoom, swap, toast } from "./ui.js";

/** @type {Record<string, string>} */
const ENDINGS = {
  finished: "The game is over.",
  abandoned: "All players have left.",
  void: "Too few players came.",
  crashed: "The game failed. Its author can find the reason in the server’s recordings.",
  time_limit: "The time limit of this game was reached.",
  ended: "An operator closed the room.",
  shutdown: "The server is stopping.",
  kicked: "The host removed you.",
  lost: "The server restarted, and this room was lost.",
  replaced: "You’re playing in this room somewhere else.",
};
/** The same for matches. @type {Record<string, string>} */
const MATCH_ENDINGS = {
  ...ENDINGS,
  finished: "The match is over.",
  lost: "The game server of this match has failed.",
};

/**
 * @param {{main: HTMLElement, client: import("./vinom.js").Client, catalogue: any}} shown
 * @param {{room: string, game: string | null, watch: boolean}} where
 * @returns {() => void} leaves the view; the seat stays
 */
export function showRoom({ main, client, catalogue }, where) {
  let isOver = false;
  /** @type {(() => void)[]} */
  const undo = [() => (isOver = true)];
  const end = () => {
    for (const one of undo.splice(0)) one();
  };

  /** @param {string} title @param {string} words @param {...any} buttons */
  function notice(title, words, ...buttons) {
    main.replaceChildren(
      h(
        "section.card.notice",
        null,
        h("h1", null, title),
        h("p", null, words),
        h("div.row", null, buttons, h("a.button", { href: "#" }, "Back to the games")),
      ),
    );
  }

  async function enter() {
    main.replaceChildren(h("p.muted.loading", null, "Entering the room…"));
    try {
      await client.ready;
      const game = where.game ?? (await findGame());
      const here = client.places.get(where.room);
      const room = here ?? (await sit(game));
      if (isOver) return;
      document.title = `${titleOf(room.game)} – Vinom`;
      await present(room);
    } catch (/** @type {any} */ error) {
      if (isOver) return;
      const canWatch = ["room_full", "room_started", "not_seated"].includes(error.code) && where.game && !where.watch;
      notice(
        "You can’t join",
        error.code === "not_seated" && canWatch
          ? "The players of this match are already chosen. You can watch it."
          : inWords(error),
        canWatch &&
          h(
            "a.button.primary",
            { href: addressOf(where.room, where.game ?? "", true) },
            "Watch",
          ),
      );
    }
  }

  /** @param {string} game */
  async function sit(game) {
    const roomId = where.room;
    try {
      return await client.join(game, { roomId, spectate: where.watch });
    } catch (/** @type {any} */ error) {
      // A player who has a seat in a match cannot watch it.
      if (!where.watch || error.code !== "already_in_match") throw error;
      return client.join(game, { roomId });
    }
  }

  async function findGame() {
    const found = await client.request("list_rooms", { limit: 100 });
    const room = found.rooms.find((/** @type {any} */ one) => one.room_id === where.room);
    if (!room) throw Object.assign(new Error(), { code: "no_such_room" });
    return room.game;
  }

  /** @param {import("./vinom.js").Room} room */
  async function present(room) {
    const facts = catalogue.games[room.game] ?? {};
    const table = h("div.table");
    const side = h("div.side");
    const log = h("ol.log", { "aria-label": "What happened" });
    const banner = h("div.banner", { role: "status" });
    const context = {
      room,
      facts,
      say,
      /** @param {any} action */
      act: (action) => room.act(action).catch((error) => showError(error)),
      /** @param {number | null} seat */
      nameOf: (seat) => (seat === room.seat ? "You" : nameOf(room, seat)),
      /** @param {string} words */
      note(words) {
        log.prepend(h("li", null, words));
        while (log.childElementCount > 12) log.lastElementChild?.remove();
      },
    };
    /** @param {any} error */
    function showError(error) {
      if (error.code !== "closed") toast(inWords(error));
    }
    /** @type {any} */
    let board = null;
    // With `vinom dev`, show the author the whole view rather than a board.
    const isDrawn = isKnown(room.game) && catalogue.dev?.game !== room.game;
    const made = await loadBoard(isDrawn ? room.game : "");
    if (isOver) return;

    main.replaceChildren(
      h(
        "div.room-head",
        null,
        iconOf(room.game),
        h("div.grow", null, h("h1", null, titleOf(room.game))),
        inviteButton(),
        button("Leave", leave),
      ),
      h(
        "div.room-grid",
        null,
        h("section.card.stage", { "aria-label": "Board" }, banner, table),
        h(
          "div.aside",
          null,
          h("section.card", { "aria-labelledby": "players-title" }, side),
          h(
            "section.card.happened",
            { "aria-labelledby": "log-title" },
            h("h2", { id: "log-title" }, "What happened"),
            log,
          ),
        ),
      ),
    );

    function inviteButton() {
      // Nobody can join a match: others can only watch.
      const address = addressOf(room.roomId, room.game, room.isMatch);
      const link = () => new URL(address, location.href).href;
      return button(room.isMatch ? "Copy link" : "Invite", async () => {
        await copy(link());
      }, { data: { key: "invite" }, title: room.isMatch ? "Copy a link for spectators" : "Copy a link to this room" });
    }

    async function leave() {
      end();
      room.leave().catch(() => {});
      location.hash = "";
    }

    function showTable() {
      if (room.closed !== null) return;
      if (room.view === null) {
        if (board) {
          board.stop?.();
          board = null;
        }
        swap(table, waiting());
        swap(banner);
        return;
      }
      if (board === null) {
        board = made.mount(context);
        table.replaceChildren(board.element);
      }
      board.update();
      showBanner();
    }

    function waiting() {
      if (room.isMatch) {
        return h(
          "div.gathering",
          null,
          h("h2", null, "Waiting for the other players."),
          h("p.muted", null, "The match begins when everyone is here, or after a few seconds."),
        );
      }
      const [fewest, most] = facts.seats ?? [2, 2];
      const missing = Math.max(0, fewest - room.players.length);
      const link = new URL(addressOf(room.roomId, room.game), location.href).href;
      const field = h("input.code", { readonly: true, value: link, "aria-label": "Invitation link" });
      field.addEventListener("focus", () => field.select());
      const words = missing
        ? `Waiting for ${plural(missing, "more player")}.`
        : "The game begins in a moment.";
      return h(
        "div.gathering",
        null,
        h("h2", null, words),
        h("p.muted", null, "To play with friends, send them this link to the room."),
        h("div.row.invite", null, field, button("Copy link", () => copy(link), { data: { key: "copy" } })),
        h(
          "div.row",
          null,
          room.isHost &&
            facts.has_bot &&
            room.players.length < most &&
            button("Add a bot", () => room.addBot().catch(showError), { data: { key: "bot" } }),
          room.isHost &&
            !missing &&
            room.players.length < most &&
            button("Begin now", () => room.start().catch(showError), {
              class: "primary",
              data: { key: "start" },
            }),
        ),
      );
    }

    function showBanner() {
      // Boards with `ends` announce the result themselves.
      if (board?.ends || room.state !== "over" || !room.outcome) {
        swap(banner);
        return;
      }
      const [first = []] = room.outcome.places;
      const won = room.seat !== null && first.includes(room.seat);
      const names = first.map((seat) => context.nameOf(seat)).join(" and ");
      const words = !first.length || first.length === room.players.length
        ? "Nobody won this round."
        : won && first.length === 1
          ? "You won!"
          : `${names} won.`;
      swap(
        banner,
        h("p", null, h("strong", null, words)),
        room.isHost &&
          button("Play again", () => room.rematch().catch(showError), {
            class: "primary",
            data: { key: "again" },
          }),
      );
    }

    function showPlayers() {
      const [, most] = facts.seats ?? [2, room.players.length];
      const free = Math.max(0, most - room.players.length);
      const canSeat = !room.isMatch && (room.state === "gathering" || facts.late_join);
      swap(
        side,
        h("h2", { id: "players-title" }, "Players"),
        h("ul.players", null, room.players.map(player)),
        canSeat && free > 0 && h("p.small.muted", null, `${plural(free, "free seat")}.`),
        room.view !== null &&
          canSeat &&
          free > 0 &&
          room.isHost &&
          facts.has_bot &&
          button("Add a bot", () => room.addBot().catch(showError), { data: { key: "bot" } }),
        room.seat === null && h("p.small.muted", null, "You are watching."),
      );
    }

    /** @param {import("./vinom.js").Member} one */
    function player(one) {
      const signs = [
        one.seat === room.seat && "you",
        one.seat === room.host && "host",
        one.state === "bot" && "bot",
        one.state === "away" && "away",
        typeof one.team === "number" && `team ${one.team + 1}`,
      ].filter(Boolean);
      const extra = board?.player?.(one.seat);
      return h(
        "li",
        { class: one.state, title: one.player_id ? `Player ${one.player_id}` : null },
        board?.mark ? board.mark(one.seat) : dot(one.seat),
        h("span.grow.name", null, one.name, signs.length > 0 && h("span.signs", null, signs.join(", "))),
        extra !== undefined && h("span.extra", null, extra),
        room.isHost &&
          one.seat !== room.seat &&
          button("×", () => room.kick(one.seat).catch(showError), {
            class: "quiet tiny",
            "aria-label": `Remove ${one.name}`,
            title: "Remove",
            data: { key: `kick ${one.seat}` },
          }),
      );
    }

    function update() {
      showTable();
      showPlayers();
    }

    /** With `vinom dev` each save closes all rooms: add the same number of bots to the next one. */
    function rememberBots() {
      if (!catalogue.dev) return;
      const others = room.players.filter((one) => one.seat !== room.seat);
      const areBots = room.isHost && others.every((one) => one.state === "bot");
      sessionStorage.setItem("vinom.add_bots", `${room.roomId} ${areBots ? others.length : 0}`);
    }

    undo.push(
      room.on("change", update),
      room.on("change", rememberBots),
      room.on("state", () => {
        showTable();
        // A list need not change twenty times per second.
        if (!facts.tick_hz) showPlayers();
      }),
      room.on("event", (event) => board?.event?.(event)),
      room.on("closed", showEnd),
      () => board?.stop?.(),
    );
    /** @param {string} reason */
    function showEnd(reason) {
      board?.stop?.();
      end();
      if (reason === "left") return;
      if (reason === "lost" && catalogue.dev) {
        location.reload();
        return;
      }
      if (room.isMatch && reason === "void" && room.seat !== null) {
        // Players who came are at the front of the queue again: the lobby shows it.
        toast("Too few players came. You are waiting for another match.");
        location.hash = "";
        return;
      }
      const [first = []] = room.outcome?.places ?? [];
      const won = first.length ? ` ${first.map((seat) => context.nameOf(seat)).join(" and ")} won.` : "";
      const fresh = { href: addressOf(someRoom(), room.game) };
      const why = (room.isMatch ? MATCH_ENDINGS : ENDINGS)[reason] ?? inWords({ code: reason, message: reason });
      if (room.isMatch) notice("This match is over", why + won);
      else notice("This room is closed", why + won, h("a.button.primary", fresh, "New room"));
    }
    if (room.closed !== null) {
      // It closed while its board was loading, before we listened.
      showEnd(room.closed);
      return;
    }
    if (facts.tick_hz) {
      const often = setInterval(showPlayers, 500);
      undo.push(() => clearInterval(often));
    }
    if (!isDrawn) main.classList.add("wide");
    undo.push(() => main.classList.remove("wide"));
    update();
    const [whose, count] = (sessionStorage.getItem("vinom.add_bots") ?? "").split(" ");
    sessionStorage.removeItem("vinom.add_bots");
    // After a reload the bots are still there.
    const isNew = room.players.every((one) => one.state !== "bot");
    if (whose === room.roomId && Number(count) && isNew) withBots(room, Number(count)).catch(showError);
  }

  /** @param {import("./vinom.js").Room} room @param {number} count */
  async function withBots(room, count) {
    for (let added = 0; added < count; added += 1) await room.addBot();
    // A room with free seats would wait for more players first.
    if (room.state === "gathering") {
      await room.start().catch((error) => {
        // It has already begun by itself.
        if (error.code !== "not_now") throw error;
      });
    }
  }

  enter();
  return end;
}

/** @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Link copied.", "good");
  } catch {
    // Browsers allow this over TLS only.
    toast("Copy the address of this page: it is the link to this room.", "good");
  }
}

/**
 * @param {import("./vinom.js").Room} room
 * @param {number | null} seat
 */
function nameOf(room, seat) {
  const found = room.players.find((one) => one.seat === seat);
  return found?.name ?? (seat === null ? "nobody" : `seat ${seat + 1}`);
}
