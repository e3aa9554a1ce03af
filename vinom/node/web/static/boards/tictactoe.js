// @ts-check
/** Tic-tac-toe: nine cells, by mouse, touch or arrow keys. */

import { countdown, h, svg, swap } from "../ui.js";
import { rematchButton, showTurn } from "./parts.js";

const CROSS = [["path", { d: "M22 22L78 78M78 22L22 78", pathLength: 1 }]];
const RING = [["circle", { cx: 50, cy: 50, r: 30, pathLength: 1 }]];

/** @param {number} seat */
const mark = (seat) =>
  svg("0 0 100 100", /** @type {any} */ (seat ? RING : CROSS), `mark mark-${seat}`);

/** @type {import("./parts.js").Mount} */
export function mount(context) {
  const { room } = context;
  const cells = [...Array(9).keys()].map((at) =>
    h("button.cell", {
      type: "button",
      onclick: () => place(at),
      onkeydown: (/** @type {KeyboardEvent} */ event) => walk(event, at),
    }),
  );
  const status = h("p.turn", { role: "status" });
  const clock = countdown();
  const foot = h("div.row.centre");
  const grid = h("div.ttt", { role: "group", "aria-label": "Board" }, cells);

  /** @param {number} at */
  function place(at) {
    const { board, turn } = room.view;
    const row = Math.floor(at / 3);
    const col = at % 3;
    if (turn === null) context.hint("This round is over.");
    else if (room.seat === null) context.hint("You are watching. Only players can do that.");
    else if (turn !== room.seat) context.hint(`It’s ${context.nameOf(turn)}’s turn.`);
    else if (board[row][col] !== null) context.hint("This cell is taken.");
    else context.act({ type: "place", row, col });
  }

  /** @param {KeyboardEvent} event @param {number} at */
  function walk(event, at) {
    /** @type {Record<string, number>} */
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -3, ArrowDown: 3 };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const to = at + step;
    const isSideways = Math.abs(step) === 1;
    if (isSideways && Math.floor(to / 3) !== Math.floor(at / 3)) return;
    cells[to]?.focus();
  }

  return {
    element: h("div.board-ttt", null, status, clock.element, grid, foot),
    ends: true,
    isOver: () => room.view.turn === null,
    hasWon: () => room.view.winner === room.seat,
    mark,
    stop: clock.stop,
    /** @param {number} seat */
    player: (seat) => String(room.view.wins[seat] ?? 0),
    update() {
      const { board, turn, due, winner, line, rematch } = room.view;
      const won = new Set(line.map((/** @type {number[]} */ [row, col]) => 3 * row + col));
      cells.forEach((cell, at) => {
        const seat = board[Math.floor(at / 3)][at % 3];
        const who = seat === null ? "empty" : seat ? "ring" : "cross";
        if (cell.dataset.who !== who) {
          cell.dataset.who = who;
          cell.replaceChildren(...(seat === null ? [] : [mark(seat)]));
        }
        cell.setAttribute("aria-label", `Row ${Math.floor(at / 3) + 1}, column ${(at % 3) + 1}: ${who}`);
        cell.classList.toggle("won", won.has(at));
        const isFree = turn === room.seat && seat === null;
        cell.setAttribute("aria-disabled", String(!isFree));
      });
      let words;
      if (turn !== null) {
        words = turn === room.seat ? "Your turn" : `${context.nameOf(turn)}’s turn`;
      } else if (winner === null) words = "A draw";
      else words = winner === room.seat ? "You won!" : `${context.nameOf(winner)} won`;
      showTurn(status, words, turn === room.seat && turn !== null);
      clock.show(room, due, room.options.turn_seconds ?? 30);
      swap(foot, turn === null && room.players.length > 1 && rematchButton(context, rematch));
    },
    /** @param {any} event */
    event({ kind, data }) {
      if (kind === "placed") {
        const cell = `row ${data.row + 1}, column ${data.col + 1}`;
        context.note(`${context.nameOf(data.seat)}: ${cell}`);
      } else if (kind === "began") context.note(`Round ${data.round} begins.`);
      else if (kind === "asked" && data.seat !== room.seat) {
        context.note(`${context.nameOf(data.seat)} asks for a rematch.`);
      } else if (kind === "ended") {
        const won = data.winner === null ? "A draw." : `${context.nameOf(data.winner)} won.`;
        context.note(won);
      }
    },
  };
}
