// @ts-check
/** Above and below the board when a round is over: who won, who left, and the ways on. */

import { openRoom, playAnyone, playBot } from "./entry.js";
import { share } from "./invite.js";
import { button, h, swap } from "./ui.js";
import { leftWords, resultWords } from "./words.js";

/**
 * @param {object} given
 * @param {import("./vinom.js").Client} given.client
 * @param {import("./vinom.js").Room} given.room
 * @param {any} given.facts of its game
 * @param {() => import("./boards/parts.js").Board | null} given.boardOf
 * @param {(seat: number | null) => string} given.nameOf
 * @param {(error: any) => void} given.showError
 * @param {() => void} given.end leaves the view
 */
export function makeResult({ client, room, facts, boardOf, nameOf, showError, end }) {
  const banner = h("div.banner", { role: "status" });
  const element = h("div.result");
  const [fewest] = room.seats ?? facts.seats ?? [2];

  /** Is the round over, as far as can be seen? */
  const isOver = () => room.view !== null && (boardOf()?.isOver?.() ?? room.state === "over");

  const hasWon = () =>
    room.seat !== null && isOver() && (boardOf()?.hasWon?.() ?? room.outcome?.places[0]?.includes(room.seat) ?? false);

  const words = () => resultWords(room.outcome, room.seat, room.players.length, nameOf);

  /** Leave the room, and go another way. @param {() => any} way */
  const onward = (way) => () => {
    end();
    room.leave().catch(() => {});
    way();
  };

  function showWays() {
    const isAlone = room.former.length > 0 && room.players.length < fewest;
    element.classList.toggle("alone", isAlone);
    if (room.isMatch || !(isOver() || isAlone)) {
      swap(element);
      return;
    }
    const gone = leftWords(room.former);
    const { game } = room;
    const isSeated = room.seat !== null;
    swap(
      element,
      gone && h("p", null, gone),
      h(
        "div.row.centre",
        null,
        isSeated && button("New opponent", onward(() => playAnyone(client, game)), { class: isAlone ? "primary" : "", data: { key: "new opponent" } }),
        isSeated && facts.has_bot && button("Play a bot", onward(() => playBot(client, game)), { data: { key: "play bot" } }),
        isSeated && isAlone && button("Invite a friend", onward(() => openRoom(client, game)), { data: { key: "invite friend" } }),
        isSeated && room.outcome && "share" in navigator &&
          button("Share result", () => share(game, new URL("#", location.href).href, words()), { data: { key: "share result" } }),
        !isSeated && h("a.button", { href: "#" }, "Back to the games"),
      ),
    );
  }

  function showBanner() {
    const isDeserted = room.seat === null && room.players.every((one) => ["away", "bot"].includes(one.state));
    if (isDeserted && !isOver()) {
      swap(banner, h("p", null, "Everyone is away. Play may go on when somebody returns."), h("a.button", { href: "#" }, "Back to the games"));
      return;
    }
    // Boards with `ends` announce the result themselves.
    if (boardOf()?.ends || room.state !== "over" || !room.outcome) {
      swap(banner);
      return;
    }
    swap(
      banner,
      h("p", null, h("strong", null, words())),
      room.isHost &&
        room.players.length >= fewest &&
        button("Play again", () => room.rematch().catch(showError), { class: "primary", data: { key: "again" } }),
    );
  }

  return {
    banner,
    element,
    isOver,
    hasWon,
    draw() {
      showBanner();
      showWays();
    },
    clear() {
      swap(banner);
      swap(element);
    },
  };
}
