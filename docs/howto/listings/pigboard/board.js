import { button, dieFace, h, isCalm, rematchButton, showTurn, swap } from "/boards/parts.js";

export const style = "board.css";

/** @type {import("/boards/parts.js").Mount} */
export function mount(context) {
  const { room, act, nameOf, note } = context;
  const turn = h("p.turn", { role: "status" });
  const die = h("div.pig-die");
  const pot = h("p.pig-pot");
  const roll = button("Roll", () => act({ type: "roll" }), { class: "primary" });
  const hold = button("Hold", () => act({ type: "hold" }));
  const again = h("div.row.centre");

  return {
    element: h("div.pig", null, turn, die, pot, h("div.row.centre", null, roll, hold), again),
    player: (seat) => `${room.view.scores[seat]} points`,
    update() {
      const { turn: next, pot: points, rematch } = room.view;
      const isOver = next === null;
      const isMine = next === room.seat && !isOver;
      const words = isMine ? "Your turn" : isOver ? "The round is over" : `${nameOf(next)} to roll`;
      showTurn(turn, words, isMine);
      pot.textContent = `In the pot: ${points}`;
      roll.disabled = hold.disabled = !isMine;
      swap(again, isOver && rematchButton(context, rematch));
    },
    event({ kind, data }) {
      if (kind !== "rolled") return;
      note(`A ${data} was rolled.`);
      swap(die, dieFace(data));
      if (!isCalm()) die.animate([{ rotate: "-1turn" }, { rotate: "0turn" }], 300);
    },
  };
}
