import { countdown, h, showTurn } from "/boards/parts.js";

/** The page loads this style sheet with the board. */
export const style = "board.css";

/** @type {import("/boards/parts.js").Mount} */
export function mount({ room, act, nameOf, colourOf, note }) {
  const turn = h("p.turn", { role: "status" });
  const clock = countdown();
  const columns = [...Array(7).keys()].map((column) =>
    h(
      "button.c4-column",
      { type: "button", onclick: () => act({ type: "drop", column }) },
      [...Array(6)].map(() => h("span.c4-cell")),
    ),
  );

  function words() {
    const { turn: next, winner } = room.view;
    if (next !== null) return next === room.seat ? "Your turn" : `${nameOf(next)}’s turn`;
    if (winner === null) return "A draw";
    return winner === room.seat ? "You won!" : `${nameOf(winner)} won`;
  }

  return {
    element: h("div.c4", null, turn, clock.element, h("div.c4-columns", null, columns)),
    stop: clock.stop,
    update() {
      const { rows, turn: next, due, last, line } = room.view;
      const won = new Set(line.map(String));
      columns.forEach((column, x) => {
        const discs = [...column.children].map((cell, y) => {
          const seat = rows[y][x];
          cell.style.backgroundColor = seat === null ? "" : colourOf(seat);
          cell.dataset.sign = seat === null ? "" : String(seat + 1);
          cell.classList.toggle("fresh", String(last) === String([y, x]));
          cell.classList.toggle("won", won.has(String([y, x])));
          return seat === null ? "" : nameOf(seat);
        });
        const isMine = next === room.seat && rows[0][x] === null;
        column.setAttribute("aria-disabled", String(!isMine));
        column.setAttribute("aria-label", `Column ${x + 1}: ${discs.filter(Boolean).join(", ") || "empty"}`);
      });
      showTurn(turn, words(), next !== null && next === room.seat);
      clock.show(room, due, 30);
    },
    event({ kind, data }) {
      if (kind === "dropped") note(`${nameOf(data.seat)}: column ${data.column + 1}`);
    },
  };
}
