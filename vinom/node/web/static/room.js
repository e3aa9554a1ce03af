// @ts-check
/** A room: its players, its board, and the buttons for both. */

import { openRoom } from "./entry.js";
import { colourIn, hasBoard, iconOf, loadBoard, loadGeneric, rulesOf, titleOf } from "./games.js";
import { inviteButton, makeWaiting } from "./invite.js";
import { watchMoments } from "./moments.js";
import { makePlayers } from "./players.js";
import { makeResult } from "./result.js";
import { addressOf, button, h, inWords, isCalm, say, swap, toast } from "./ui.js";
import { endingWords } from "./words.js";

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
      if (error.code === "no_such_room" && where.game && !where.watch && !isMatchId(where.room)) {
        const { room, game } = where;
        notice(
          "This room no longer exists",
          "It has closed, or the link is wrong. You can open a new room with the same link.",
          button("Open a new room", () => reopen(room, game), { class: "primary" }),
        );
        return;
      }
      const canWatch = ["room_full", "room_started", "not_seated"].includes(error.code) && where.game && !where.watch;
      notice(
        "You can’t join",
        error.code === "not_seated" && canWatch
          ? "The players of this match have already been chosen. You can watch instead."
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

  /** @param {string} roomId @param {string} game */
  async function reopen(roomId, game) {
    try {
      await client.join(game, { roomId, public: true, create: true });
      enter();
    } catch (error) {
      toast(inWords(error));
    }
  }

  /** @param {string} game */
  async function sit(game) {
    const roomId = where.room;
    try {
      // An invitation to a room that has closed must not open another one.
      return await client.join(game, { roomId, spectate: where.watch, create: false });
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
    const answer = h("p.answer", { role: "status" });
    const pause = h("p.pause", { role: "status", hidden: true }, "The game is paused: the server cannot save it just now. It goes on by itself.");
    /** @type {any} */
    let answerEnds;
    /** Tools of `vinom dev`, for the author of this game. */
    const bench = catalogue.dev?.game === room.game
      ? (await import("./bench.js")).makeBench({ room, client, redraw })
      : null;
    undo.push(() => bench?.stop());
    /** @type {import("./boards/parts.js").BoardContext} */
    const context = {
      room: bench?.seen ?? room,
      facts,
      say,
      /** @param {any} action @param {number} [tick] */
      act: (action, tick) => room.act(action, tick).catch((error) => showError(error)),
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
    // With `vinom dev` the page is loaded again when a board is saved, and play goes on.
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
      const isPast = bench?.isPast();
      if (room.view === null || (client.status === "online" && !isPast)) return;
      event.preventDefault();
      event.stopPropagation();
      hint(isPast ? "This is the past: press Newest first." : inWords({ code: "offline" }));
    }, true);
    /** @type {import("./boards/parts.js").Board | null} */
    let board = null;
    const boardOf = () => board;
    const result = makeResult({ client, room, facts, boardOf, nameOf: context.nameOf, showError, end });
    const showPlayers = makePlayers(side, { room, facts, boardOf, colourOf: context.colourOf, showError });
    const waiting = makeWaiting(room, facts, showError);
    const stage = h("section.card.stage", { "aria-label": "Board" }, result.banner, pause, answer, table, result.element);
    const markMoment = watchMoments(stage);
    /** With `vinom dev` an author can look at the whole view. Does this one now? */
    const isAuthor = catalogue.dev?.game === room.game && hasBoard(room.game);
    let isDrawn = hasBoard(room.game) && !(isAuthor && sessionStorage.getItem("vinom.as_data"));
    let made = await (isDrawn ? loadBoard(room.game) : loadBoard("")).catch(boardFailed);
    undo.push(() => made.stop());
    /** Has the board failed, and is the generic page not yet there? */
    let isBetween = false;
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
      if (isBetween) return;
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
        isBetween = true;
        boardFailed(error).then((generic) => {
          isBetween = false;
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
        inviteButton(room),
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
          bench?.element ?? "",
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

    /** The lobby shows the wait. */
    function queueAgain() {
      sessionStorage.setItem("vinom.queue_for", room.game);
      location.hash = "";
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
        result.clear();
        showMoment();
        return;
      }
      withBoard(() => {
        if (board === null) {
          board = made.mount(context);
          table.replaceChildren(board.element);
        }
        board.update();
        result.draw();
        showMoment();
      });
    }

    /** An author looks at another state. */
    function redraw() {
      stage.classList.toggle("is-past", bench?.isPast() ?? false);
      if (board) withBoard(() => board?.update());
    }

    /** Show in the tab's title whether it is our turn, and mark when that changes. */
    function showMoment() {
      const headline = table.querySelector(".turn");
      const isMine = room.seat !== null && room.view !== null
        && (headline ? headline.classList.contains("mine") : room.view.turn === room.seat);
      document.title = `${isMine ? "● Your turn – " : ""}${titleOf(room.game)} – Vinom`;
      markMoment({ isPlaying: room.view !== null, isMine, isOver: result.isOver(), hasWon: result.hasWon() });
    }

    function update() {
      pause.hidden = !room.isPaused;
      showTable();
      showPlayers();
    }

    // With other rules what never changes may be another: see `vinom.node.edited`.
    if (bench) undo.push(room.on("start", () => {
      board?.stop?.();
      board = null;
    }));
    undo.push(
      room.on("change", update),
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
      if (room.isMatch && reason === "void" && room.seat !== null) {
        // Players who came are at the front of the queue again: the lobby shows it.
        toast("Not enough players came, so you are waiting for another match.");
        location.hash = "";
        return;
      }
      const [first = []] = room.outcome?.places ?? [];
      const won = first.length ? ` ${first.map((seat) => context.nameOf(seat)).join(" and ")} won.` : "";
      const why = endingWords(reason, room.isMatch);
      if (room.isMatch) {
        notice("This match is over", why + won, room.seat !== null && button("Find another match", queueAgain, { class: "primary" }));
        return;
      }
      notice(
        room.fault ? `${titleOf(room.game)} has failed` : "This room is closed",
        room.fault ? "It stopped at these lines:" : why + won,
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
    const [whose, count, ...level] = (sessionStorage.getItem("vinom.add_bots") ?? "").split(" ");
    sessionStorage.removeItem("vinom.add_bots");
    if (whose === room.roomId && Number(count)) withBots(room, Number(count), level.join(" ")).catch(showError);
  }

  /** @param {import("./vinom.js").Room} room @param {number} count @param {string} level */
  async function withBots(room, count, level) {
    const wanted = Math.max(count, (room.seats?.[0] ?? 0) - room.players.length);
    for (let added = 0; added < wanted; added += 1) await room.addBot(level);
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

/** @param {string} roomId */
const isMatchId = (roomId) => /^[a-z2-7]{26}$/.test(roomId);

/**
 * @param {import("./vinom.js").Room} room
 * @param {number | null} seat
 */
function nameOf(room, seat) {
  const found = room.players.find((one) => one.seat === seat);
  const former = found ?? room.former.find((one) => one.seat === seat);
  return former?.name ?? (seat === null ? "nobody" : `player ${seat + 1}`);
}
