// @ts-check
/** The list of a room's players, and what its host can do with them. */

import { botLevels } from "./entry.js";
import { button, dot, h, plural, swap } from "./ui.js";

/**
 * Make the buttons that add a bot: one, or one for each level of the game's bot.
 *
 * @param {import("./vinom.js").Room} room
 * @param {any} facts of its game
 * @param {(error: any) => void} showError
 */
export function botButtons(room, facts, showError) {
  return botLevels(facts).map((level) =>
    button(level ? `Add a bot: ${level}` : "Add a bot", () => room.addBot(level).catch(showError), {
      data: { key: `bot ${level}`.trim() },
    }),
  );
}

/**
 * @param {HTMLElement} side where the list is drawn
 * @param {object} given
 * @param {import("./vinom.js").Room} given.room
 * @param {any} given.facts of its game
 * @param {() => import("./boards/parts.js").Board | null} given.boardOf
 * @param {(seat: number) => string} given.colourOf
 * @param {(error: any) => void} given.showError
 * @returns {() => void} draws the list
 */
export function makePlayers(side, { room, facts, boardOf, colourOf, showError }) {
  const teams = facts.teams ?? 0;

  /** The host chooses teams before play begins. @param {import("./vinom.js").Member} one */
  function teamOf(one) {
    const team = typeof one.team === "number" ? one.team : null;
    if (!teams || room.isMatch) return null;
    if (!room.isHost || room.state === "playing") {
      return team !== null && h("span.team", null, `Team ${team + 1}`);
    }
    /** @param {number | null} value @param {string} words */
    const option = (value, words) => h("option", { value: value ?? "", selected: value === team }, words);
    const select = h(
      "select.team",
      {
        "aria-label": `Team of ${one.name}`,
        data: { key: `team ${one.seat}` },
        onchange: () => {
          room.setTeam(one.seat, select.value === "" ? null : Number(select.value)).catch((error) => {
            showError(error);
            draw();
          });
        },
      },
      option(null, "Any team"),
      [...Array(teams).keys()].map((value) => option(value, `Team ${value + 1}`)),
    );
    return select;
  }

  /** @param {import("./vinom.js").Member} one */
  function row(one) {
    const board = boardOf();
    const signs = [
      one.seat === room.seat && "you",
      one.seat === room.host && "host",
      one.state === "bot" && "bot",
      one.state === "away" && "away",
    ].filter(Boolean);
    const extra = board?.player?.(one.seat);
    return h(
      "li",
      { class: one.state, title: one.player_id ? `Player ${one.player_id}` : null },
      board?.mark ? board.mark(one.seat) : dot(one.seat, colourOf(one.seat)),
      h("span.grow.name", null, one.name, signs.length > 0 && h("span.signs", null, signs.join(", "))),
      teamOf(one),
      extra !== undefined && h("span.extra", null, extra),
      room.isHost &&
        one.seat !== room.seat &&
        button("×", () => room.kick(one.seat).catch(showError), {
          class: "quiet tiny",
          "aria-label": `Remove ${one.name}`,
          title: `Remove ${one.name}`,
          data: { key: `kick ${one.seat}` },
        }),
    );
  }

  function draw() {
    const [, most] = room.seats ?? facts.seats ?? [2, room.players.length];
    const free = Math.max(0, most - room.players.length);
    const canSeat = !room.isMatch && (room.state === "gathering" || facts.late_join);
    swap(
      side,
      h("h2", { id: "players-title" }, "Players"),
      h("ul.players", null, room.players.map(row)),
      canSeat && free > 0 && h("p.small.muted", null, `${plural(free, "free seat")}.`),
      room.view !== null &&
        canSeat &&
        free > 0 &&
        room.isHost &&
        botButtons(room, facts, showError),
      room.seat === null && h("p.small.muted", null, "You are watching."),
    );
  }

  return draw;
}
