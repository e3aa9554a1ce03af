// @ts-check
/** A room: its players, its board, and the buttons for both. */

import { colourIn, hasBoard, iconOf, loadBoard, loadGeneric, rulesOf, titleOf } from "./games.js";
import { openRoom, playAnyone, playBot } from "./entry.js";
import { endingWords, leftWords, resultWords } from "./words.js";
import { addressOf, button, dot, h, inWords, isCalm, plural, say, swap, toast } from "./ui.js";

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
    if (catalogue.dev && sessionStorage.getItem("vinom.kept_out") === where.room && !client.places.has(where.room)) {
      // This tab had no seat before the game was saved: it must not take one now.
      notice("You have no seat in this room", "The game was saved, and its room opened again.", button("Join", joinAfterAll, { class: "primary" }));
      return;
    }
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
      if (error.code === "no_such_room" && where.game && !where.watch && !isMatchId(where.room)) {
        const { room, game } = where;
        notice(
          "This room is no more",
          "It has closed, or the link is wrong. You can open a new room under the same link.",
          button("Open a new room", () => reopen(room, game), { class: "primary" }),
        );
        return;
      }
      if (catalogue.dev) sessionStorage.setItem("vinom.kept_out", where.room);
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

  function joinAfterAll() {
    sessionStorage.removeItem("vinom.kept_out");
    enter();
  }

  /** @param {string} roomId @param {string} game */
  async function reopen(roomId, game) {
    try {
      await client.join(game, { roomId, public: true });
      enter();
    } catch (error) {
      toast(inWords(error));
    }
  }

  /** @param {string} game */
  async function sit(game) {
    const roomId = where.room;
    // An invitation to a room that has closed must not open another one. After a save in
    // `vinom dev` the page opens its own room again.
    const [ours] = (sessionStorage.getItem("vinom.add_bots") ?? "").split(" ");
    const create = Boolean(catalogue.dev) && ours === roomId;
    try {
      return await client.join(game, { roomId, spectate: where.watch, create });
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
    const answer = h("p.answer", { role: "status" });
    const result = h("div.result");
    const stage = h("section.card.stage", { "aria-label": "Board" }, banner, answer, table, result);
    /** @type {any} */
    let answerEnds;
    /** @type {import("./boards/parts.js").BoardContext} */
    const context = {
      room,
      facts,
      say,
      /** @param {any} action */
      act: (action) => room.act(action).catch((error) => showError(error)),
      hint,
      /** @param {number | null} seat */
      nameOf: (seat) => (seat === room.seat ? "You" : nameOf(room, seat)),
      /** @param {number} seat */
      colourOf: (seat) => colourIn(room.game, seat),
      /** @param {string} words */
      note(words) {
        log.prepend(h("li", null, words));
        while (log.childElementCount > 12) log.lastElementChild?.remove();
        if (catalogue.dev) keepLog();
      },
    };
    // With `vinom dev` the page is loaded again when a board is saved, and the game goes on.
    const keepLog = () => {
      const lines = [...log.children].map((one) => one.textContent);
      sessionStorage.setItem("vinom.log", JSON.stringify([room.roomId, ...lines]));
    };
    const [kept, ...lines] = JSON.parse(sessionStorage.getItem("vinom.log") ?? "[]");
    if (kept === room.roomId) log.append(...lines.map((/** @type {string} */ words) => h("li", null, words)));

    /** @param {any} error */
    function showError(error) {
      if (error.code === "rejected") hint(inWords(error));
      else if (error.code !== "closed") toast(inWords(error));
    }

    /** Answer a move that is not possible: nothing else shows that it was noticed. @param {string} words */
    function hint(words) {
      answer.textContent = words;
      if (!isCalm()) table.animate?.([0, -5, 5, -3, 0].map((x) => ({ transform: `translateX(${x}px)` })), 300);
      clearTimeout(answerEnds);
      answerEnds = setTimeout(() => (answer.textContent = ""), 4000);
    }

    // A move that cannot be sent now must not seem to be one.
    table.addEventListener("click", (/** @type {Event} */ event) => {
      if (room.view === null || client.status === "online") return;
      event.preventDefault();
      event.stopPropagation();
      hint(inWords({ code: "offline" }));
    }, true);
    /** @type {import("./boards/parts.js").Board | null} */
    let board = null;
    /** With `vinom dev` an author can look at the whole view. Does this one now? */
    const isAuthor = catalogue.dev?.game === room.game && hasBoard(room.game);
    let isDrawn = hasBoard(room.game) && !(isAuthor && sessionStorage.getItem("vinom.as_data"));
    let made = await (isDrawn ? loadBoard(room.game) : loadBoard("")).catch(boardFailed);
    undo.push(() => made.stop());
    if (isOver) {
      made.stop();
      return;
    }

    /** A board's mistake must not keep players from playing: show the view as data. @param {any} error */
    async function boardFailed(error) {
      console.error(error);
      toast(`The board of ${titleOf(room.game)} has failed: ${error.message}`);
      isDrawn = false;
      main.classList.add("wide");
      const { mount } = await loadGeneric();
      return { mount, stop: () => {} };
    }

    /** Call the board; after its first error the generic page takes its place. @param {() => void} call */
    function withBoard(call) {
      try {
        call();
      } catch (error) {
        if (!isDrawn) throw error;
        try {
          board?.stop?.();
        } catch {
          // It has failed already.
        }
        board = null;
        made.stop();
        boardFailed(error).then((generic) => {
          made = generic;
          if (!isOver) update();
        });
      }
    }

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
        stage,
        h(
          "div.aside",
          null,
          h("section.card", { "aria-labelledby": "players-title" }, side),
          rules(),
          h(
            "section.card.happened",
            { "aria-labelledby": "log-title" },
            h("h2", { id: "log-title" }, "What happened"),
            log,
          ),
          isAuthor ? h("div.row", null, asDataButton()) : "",
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

    function asDataButton() {
      const show = () => {
        if (isDrawn) sessionStorage.setItem("vinom.as_data", "1");
        else sessionStorage.removeItem("vinom.as_data");
        location.reload();
      };
      return button(isDrawn ? "Show data" : "Show board", show, { title: "Only with vinom dev" });
    }

    function rules() {
      const paragraphs = rulesOf(room.game);
      if (!paragraphs.length) return "";
      return h(
        "details.card.rules",
        { open: room.view === null },
        h("summary", null, "How to play"),
        paragraphs.map((words) => h("p", null, words)),
      );
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
        swap(result);
        showTitle();
        return;
      }
      withBoard(() => {
        if (board === null) {
          board = made.mount(context);
          table.replaceChildren(board.element);
        }
        board.update();
      });
      showBanner();
      showResult();
      showTitle();
    }

    /** Show in the tab's title whether it is our turn. */
    function showTitle() {
      const headline = table.querySelector(".turn");
      const isMine = room.seat !== null && room.view !== null
        && (headline ? headline.classList.contains("mine") : room.view.turn === room.seat);
      document.title = `${isMine ? "● Your turn – " : ""}${titleOf(room.game)} – Vinom`;
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
      qr ??= qrCode(link);
      const words = missing
        ? `Waiting for ${plural(missing, "more player")}.`
        : "The game begins in a moment.";
      return h(
        "div.gathering",
        null,
        h("h2", null, words),
        h(
          "p.muted",
          null,
          isFoundByAnyone(room.roomId)
            ? "Players who press Play join you here. You can send this link to a friend, too."
            : "Send this link to a friend. Other players can join you from the list, too.",
        ),
        h(
          "div.row.invite",
          null,
          field,
          button("Copy link", () => copy(link), { data: { key: "copy" } }),
          "share" in navigator && button("Share", () => share(room.game, link), { data: { key: "share" } }),
        ),
        qr,
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

    /** @type {any} */
    let qr = null;

    /** Is the round over, as far as can be seen? */
    const isOverNow = () => board?.isOver?.() ?? room.state === "over";

    /** Below the board, when a round is over: who left, and the ways on. */
    function showResult() {
      const alone = room.former.length > 0 && room.players.length < (facts.seats?.[0] ?? 2);
      if (room.isMatch || !(isOverNow() || alone)) {
        swap(result);
        return;
      }
      const gone = leftWords(room.former);
      const { game } = room;
      /** @param {() => any} way */
      const onward = (way) => () => {
        end();
        room.leave().catch(() => {});
        way();
      };
      const isSeated = room.seat !== null;
      swap(
        result,
        gone && h("p", null, gone),
        h(
          "div.row.centre",
          null,
          isSeated && button("New opponent", onward(() => playAnyone(client, game)), { class: alone ? "primary" : "", data: { key: "new opponent" } }),
          isSeated && facts.has_bot && button("Play a bot", onward(() => playBot(client, game)), { data: { key: "play bot" } }),
          isSeated && alone && button("Invite a friend", onward(() => openRoom(client, game)), { data: { key: "invite friend" } }),
          isSeated && room.outcome && "share" in navigator &&
            button("Share result", () => share(game, new URL("#", location.href).href, resultOf()), { data: { key: "share result" } }),
        ),
      );
    }

    const resultOf = () => resultWords(room.outcome, room.seat, room.players.length, context.nameOf);

    function showBanner() {
      // Boards with `ends` announce the result themselves.
      if (board?.ends || room.state !== "over" || !room.outcome) {
        swap(banner);
        return;
      }
      swap(
        banner,
        h("p", null, h("strong", null, resultOf())),
        room.isHost &&
          room.players.length >= (facts.seats?.[0] ?? 2) &&
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
        board?.mark ? board.mark(one.seat) : dot(one.seat, context.colourOf(one.seat)),
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
      room.on("left", ({ name, reason, seat }) => {
        if (seat !== null) context.note(`${name} ${reason === "left" ? "left" : reason === "expired" ? "did not come back" : "was removed"}.`);
      }),
      client.on("status", showPlayers),
      () => clearTimeout(answerEnds),
      room.on("closed", showEnd),
      () => board?.stop?.(),
    );
    /** @param {string} reason */
    function showEnd(reason) {
      sessionStorage.removeItem("vinom.log");
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
      const why = endingWords(reason, room.isMatch);
      if (room.isMatch) {
        notice("This match is over", why + won);
        return;
      }
      notice(
        room.fault ? `${titleOf(room.game)} has failed` : "This room is closed",
        room.fault ? "These lines of it were running:" : why + won,
        button("New room", () => openRoom(client, room.game), { class: "primary" }),
      );
      if (room.fault) main.firstElementChild?.append(h("pre.fault", { tabindex: 0, "aria-label": "Traceback" }, room.fault));
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
    // Events that came while the board was loading are for this board: it must be there.
    undo.push(room.on("event", (event) => withBoard(() => board?.event?.(event))));
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

/** Do players who press Play come in here? Rooms that the server names are open to them. @param {string} roomId */
const isFoundByAnyone = (roomId) => /^[a-z2-7]{16}$/.test(roomId);

/** @param {string} roomId */
const isMatchId = (roomId) => /^[a-z2-7]{26}$/.test(roomId);

/** The link as a QR code, for a phone beside this screen. @param {string} link */
function qrCode(link) {
  const src = `invite.svg?${new URLSearchParams({ link })}`;
  const image = h("img.qr", { src, alt: "QR code of the invitation link", width: 160, height: 160 });
  // Behind some proxies the server does not recognize its own links.
  image.addEventListener("error", () => image.remove());
  return image;
}

/** @param {string} game @param {string} url @param {string} [text] */
async function share(game, url, text = `Play ${titleOf(game)} with me`) {
  try {
    await navigator.share({ title: titleOf(game), text, url });
  } catch {
    // The sheet was closed.
  }
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
  const former = found ?? room.former.find((one) => one.seat === seat);
  return former?.name ?? (seat === null ? "nobody" : `player ${seat + 1}`);
}
