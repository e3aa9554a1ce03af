// Connect Four's board: seven columns, each a button; the discs fall behind a blue front.
import { h, isCalm } from "/boards/parts.js";

export const style = "board.css";

const ROWS = 6;
const COLS = 7;

export function mount({ room, act, nameOf, colourOf, note, say }) {
  let before = null; // the board as it was drawn last
  let round = 0;
  let endsAt = null; // when the turn ends, in performance.now()'s time
  let drawnVersion = null;

  const headline = h("p.c4-head", {});
  const bar = h("span.c4-bar", {});
  const clock = h("div.c4-clock", { "aria-hidden": "true" }, bar);
  const columns = Array.from({ length: COLS }, (_, column) => makeColumn(column));
  const grid = h("div.c4-grid", { role: "group", "aria-label": "Board" }, ...columns.map((c) => c.button));
  const again = h("button.c4-again", { type: "button" }, "Rematch");
  again.addEventListener("click", () => act({ type: "rematch" }));
  again.hidden = true;
  const element = h("div.c4", {}, headline, clock, grid, again);

  for (const seat of [0, 1]) element.style.setProperty(`--c4-seat${seat}`, colourOf(seat));
  grid.addEventListener("keydown", onKey);
  const timer = setInterval(tick, 200);

  function makeColumn(column) {
    const slots = Array.from({ length: ROWS }, () => {
      const disc = h("span.c4-disc", {});
      return { disc, slot: h("span.c4-slot", {}, disc) };
    });
    const button = h("button.c4-col", { type: "button" }, ...slots.map((s) => s.slot));
    button.addEventListener("click", () => drop(column));
    return { button, slots };
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
    if (room.version !== drawnVersion) {
      drawnVersion = room.version;
      endsAt = view.due === null ? null : performance.now() + (view.due - room.time) * 1000;
    }
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
    grid.classList.toggle("is-mine", seat !== null && view.turn === seat);
    grid.classList.toggle("is-over", view.turn === null);
    grid.classList.toggle("has-line", winning.size > 0);
    element.style.setProperty("--c4-mine", seat === null ? "transparent" : colourOf(seat));
    clock.classList.toggle("is-off", view.turn === null);
    clock.style.color = view.turn === null ? "" : colourOf(view.turn);
    headline.textContent = headlineOf(view);
    const asked = seat !== null && view.rematch.includes(seat);
    again.hidden = seat === null || view.turn !== null || view.gone.length > 0;
    again.disabled = asked;
    again.textContent = asked ? "Waiting for the other…" : view.rematch.length ? "Accept the rematch" : "Rematch";
    tick();
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

  function tick() {
    if (endsAt === null) return;
    const left = Math.max(0, endsAt - performance.now()) / 1000;
    const whole = room.options?.turn_seconds ?? 30;
    bar.style.transform = `scaleX(${Math.min(1, left / whole)})`;
    clock.classList.toggle("is-short", left < 6);
  }

  function mark(seat) {
    const dot = h("span.c4-mark", {});
    dot.style.backgroundColor = colourOf(seat);
    return dot;
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
    mark,
    stop: () => clearInterval(timer),
  };
}
