// Connect Four's board: seven columns, each a button; the discs fall behind a blue front.
import { countdown, h, isCalm, rematchButton, showTurn, swap } from "/boards/parts.js";

export const style = "board.css";

const ROWS = 6;
const COLS = 7;

export function mount(context) {
  const { room, act, nameOf, colourOf, note, say } = context;
  let before = null; // the board as it was drawn last
  let round = 0;

  const headline = h("p.turn");
  const clock = countdown();
  const columns = Array.from({ length: COLS }, (_, column) => makeColumn(column));
  const grid = h("div.c4-grid", { role: "group", "aria-label": "Board" }, ...columns.map((c) => c.button));
  const foot = h("div.row.centre");
  const element = h("div.c4", null, headline, clock.element, grid, foot);

  for (const seat of [0, 1]) element.style.setProperty(`--c4-seat${seat}`, colourOf(seat));
  grid.addEventListener("keydown", onKey);

  function makeColumn(column) {
    const slots = Array.from({ length: ROWS }, () => {
      const disc = h("span.c4-disc");
      return { disc, slot: h("span.c4-slot", null, disc) };
    });
    const press = { type: "button", onclick: () => drop(column) };
    return { button: h("button.c4-col", press, ...slots.map((s) => s.slot)), slots };
  }

  function drop(column) {
    const { view, seat } = room;
    const refused = seat !== null && (view.turn !== seat || view.board[0][column] !== null);
    if (refused && !isCalm()) shake(columns[column].button);
    if (seat !== null) act({ type: "drop", column }); // the rules answer what is wrong
  }

  function shake(button) {
    button.classList.remove("is-refused");
    void button.offsetWidth; // restart the animation
    button.classList.add("is-refused");
  }

  function onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const here = columns.findIndex((c) => c.button === document.activeElement);
    const digit = "1234567".indexOf(event.key);
    if (event.key.length === 1 && digit >= 0) {
      columns[digit].button.focus();
      drop(digit);
    } else if (event.key === "ArrowLeft") columns[(here + COLS - 1) % COLS].button.focus();
    else if (event.key === "ArrowRight") columns[(here + 1) % COLS].button.focus();
    else if (event.key === "Home") columns[0].button.focus();
    else if (event.key === "End") columns[COLS - 1].button.focus();
    else if (event.key === "ArrowDown") drop(here);
    else return;
    event.preventDefault();
  }

  function update() {
    const { view, seat } = room;
    if (view.round !== round) before = round ? emptyBoard() : null;
    round = view.round;
    const winning = new Set(view.line.map(String));
    const last = String(view.last);
    columns.forEach(({ button, slots }, column) => {
      slots.forEach(({ disc, slot }, row) => {
        const owner = view.board[row][column];
        const isNew = before !== null && owner !== null && before[row][column] === null;
        disc.className = owner === null ? "c4-disc" : `c4-disc is-seat${owner}`;
        if (isNew && !isCalm()) fall(disc, row);
        slot.classList.toggle("is-last", last === `${row},${column}`);
        slot.classList.toggle("is-winning", winning.has(`${row},${column}`));
      });
      button.setAttribute("aria-label", describe(column));
    });
    before = view.board;
    const isOver = view.turn === null;
    const isMine = seat !== null && view.turn === seat;
    grid.classList.toggle("is-mine", isMine);
    grid.classList.toggle("is-over", isOver);
    grid.classList.toggle("has-line", winning.size > 0);
    showTurn(headline, headlineOf(view), isMine);
    clock.show(room, view.due, 30);
    swap(foot, isOver && view.gone.length === 0 && rematchButton(context, view.rematch));
  }

  function emptyBoard() {
    return Array.from({ length: ROWS }, () => Array(COLS).fill(null));
  }

  function fall(disc, row) {
    disc.animate(
      [
        { transform: `translateY(${-(row + 1) * 100}%)`, easing: "cubic-bezier(.5,0,.9,.6)" },
        { transform: "translateY(0)", offset: 0.75, easing: "ease-out" },
        { transform: "translateY(-9%)", offset: 0.87, easing: "ease-in" },
        { transform: "translateY(0)" },
      ],
      { duration: 260 + row * 70 },
    );
  }

  function headlineOf(view) {
    if (view.turn !== null) return view.turn === room.seat ? "Your turn" : `${nameOf(view.turn)} to move`;
    if (view.winner === null) return "A draw: the board is full";
    const who = view.winner === room.seat ? "You win" : `${nameOf(view.winner)} wins`;
    return who + { line: "!", timeout: ": time is up", left: ": the other has left", draw: "" }[view.how];
  }

  function describe(column) {
    const discs = room.view.board.map((line) => line[column]).filter((owner) => owner !== null).reverse();
    const words = discs.length ? "from below: " + discs.map(nameOf).join(", ") : "empty";
    return `Column ${column + 1}, ${words}${discs.length === ROWS ? "; full" : ""}`;
  }

  function event({ kind, data }) {
    if (kind === "began") {
      const words = `Round ${data.round}: ${data.starter === room.seat ? "you begin" : `${nameOf(data.starter)} begins`}`;
      note(words);
      say(words);
    } else if (kind === "dropped") {
      const words = `${nameOf(data.seat)}: column ${data.column + 1}`;
      note(words);
      // update() has drawn this state before: the view is the one after the move
      say(room.view.turn === room.seat ? `${words}. Your turn` : words);
    } else if (kind === "ended") {
      note(headlineOf(room.view));
      say(headlineOf(room.view));
    } else if (kind === "asked") {
      note(data.seat === room.seat ? "You ask for a rematch" : `${nameOf(data.seat)} asks for a rematch`);
    }
  }

  return {
    element,
    update,
    event,
    ends: true,
    player: (seat) => `${room.view.wins[seat]} won`,
    stop: clock.stop,
  };
}
