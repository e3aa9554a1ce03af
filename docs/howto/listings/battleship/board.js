// Battleship's board: a fleet to lay out, then two seas, of which one is fired at.
import { button, countdown, h, plural, rematchButton, showTurn, swap } from "/boards/parts.js";

export const style = "board.css";

const SIZE = 10;
const FLEET = [5, 4, 3, 3, 2];

export function mount(context) {
  const { room, act, nameOf, note, say, hint } = context;
  const headline = h("p.turn");
  const clock = countdown();
  const seas = [makeSea(0), makeSea(1)];
  const place = button("Place the ships here", () => act({ type: "place", ships: draft }), { class: "primary" });
  const shuffle = button("Shuffle", () => lay(randomFleet()));
  const help = h("p.bs-help", null, "Press a ship, then where it should go; press it again to turn it.");
  const below = h("div.row.centre");
  const both = h("div.bs-seas", null, ...seas.map((sea) => sea.element));
  let draft = randomFleet();
  let chosen = null; // the ship that is being moved, by its place in the fleet

  function makeSea(owner) {
    const cells = Array.from({ length: SIZE * SIZE }, (_, at) =>
      h("button.bs-cell", { type: "button", tabindex: at ? -1 : 0, onclick: () => press(owner, at) }),
    );
    const grid = h("div.bs-grid", { role: "group", onkeydown: (event) => walk(event, cells) }, ...cells);
    const title = h("h3.bs-title");
    return { cells, grid, title, element: h("section.bs-sea", null, title, grid) };
  }

  function walk(event, cells) {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -SIZE, ArrowDown: SIZE }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    cells[cells.indexOf(document.activeElement) + step]?.focus();
  }

  function press(owner, at) {
    const { phase, turn, waiting } = room.view;
    const cell = { row: Math.floor(at / SIZE), col: at % SIZE };
    if (phase === "placing" && waiting.includes(room.seat) && owner === room.seat) move(cell);
    else if (phase === "firing" && turn === room.seat && owner !== room.seat) act({ type: "fire", ...cell });
    else hint(phase === "firing" && turn === room.seat ? "Fire at the other sea." : "It’s not your turn.");
  }

  function move({ row, col }) {
    const there = draft.findIndex((ship, n) => cellsOf(ship, n).includes(row * SIZE + col));
    if (there >= 0 && there !== chosen) chosen = there;
    else if (chosen === null) hint("Press a ship first.");
    else {
      const turned = { ...draft[chosen], down: !draft[chosen].down };
      const moved = there < 0 ? { ...draft[chosen], row, col } : turned;
      const fleet = draft.map((ship, n) => (n === chosen ? moved : ship));
      if (!fits(fleet)) hint("The ship has no room there.");
      else return lay(fleet, chosen);
    }
    update();
  }

  function lay(fleet, ship = null) {
    draft = fleet;
    chosen = ship;
    update();
  }

  function update() {
    const { view, seat } = room;
    const me = seat ?? 0;
    const isPlacing = view.phase === "placing" && view.waiting.includes(seat);
    const isMine = isPlacing || (view.turn !== null && view.turn === seat);
    seas.forEach(({ cells, grid, title }, owner) => {
      const ships = isPlacing && owner === seat ? draft.map(cellsOf) : shipsOf(view, owner);
      const afloat = FLEET.length - view.sunk[owner].length;
      title.textContent = `${owner === seat ? "Your sea" : nameOf(owner)}: ${plural(afloat, "ship")}`;
      grid.setAttribute("aria-label", title.textContent);
      const sunk = new Set(view.sunk[owner].flat().map(([row, col]) => row * SIZE + col));
      cells.forEach((cell, at) => {
        const ship = ships.findIndex((one) => one.includes(at));
        const isHit = view.seas[owner][Math.floor(at / SIZE)][at % SIZE];
        const known = isHit === null ? null : isHit ? "hit" : "miss";
        const words = sunk.has(at) ? "sunk" : known ?? (ship < 0 ? "" : "ship");
        cell.className = `bs-cell ${ship < 0 ? "" : "is-ship"} ${known ? `is-${known}` : ""} ${sunk.has(at) ? "is-sunk" : ""}`;
        const isJoined = (next) => ship >= 0 && ships[ship].includes(next);
        cell.classList.toggle("goes-right", at % SIZE < SIZE - 1 && isJoined(at + 1));
        cell.classList.toggle("goes-down", isJoined(at + SIZE));
        cell.classList.toggle("is-chosen", isPlacing && ship >= 0 && ship === chosen);
        cell.setAttribute("aria-label", `Row ${Math.floor(at / SIZE) + 1}, column ${(at % SIZE) + 1} ${words}`);
      });
      grid.classList.toggle("is-open", isMine && isPlacing === (owner === seat));
    });
    const first = seas[view.phase === "placing" ? me : 1 - me].element;
    if (both.firstChild !== first) both.prepend(first);
    both.classList.toggle("is-placing", view.phase === "placing");
    showTurn(headline, headlineOf(view, isPlacing), isMine);
    clock.show(room, view.due, view.phase === "placing" ? 90 : 20);
    const isOver = view.phase === "over";
    swap(below, isPlacing ? [help, place, shuffle] : isOver && view.gone.length === 0 && rematchButton(context, view.rematch));
  }

  function shipsOf(view, owner) {
    return (view.ships[owner] ?? view.sunk[owner]).map((ship) => ship.map(([row, col]) => row * SIZE + col));
  }

  function headlineOf(view, isPlacing) {
    if (isPlacing) return "Place your ships";
    if (view.phase === "placing") return "The ships are being placed";
    if (view.turn !== null) return view.turn === room.seat ? "Your turn: fire" : `${nameOf(view.turn)} to fire`;
    return view.winner === room.seat ? "You win!" : `${nameOf(view.winner)} wins!`;
  }

  function event({ kind, data }) {
    if (kind === "fired") {
      const words = `${nameOf(data.seat)}: row ${data.at[0] + 1}, column ${data.at[1] + 1}, ${data.what}`;
      note(words);
      say(room.view.turn === room.seat ? `${words}. Your turn` : words);
    } else if (kind === "began") {
      lay(randomFleet());
      note(`Round ${data.round} begins`);
    } else if (kind === "ended") {
      note(headlineOf(room.view));
      say(headlineOf(room.view));
    }
  }

  return {
    element: h("div.bs", null, headline, clock.element, below, both),
    update,
    event,
    ends: true,
    player: (seat) => `${room.view.wins[seat]} won`,
    stop: clock.stop,
  };
}

function cellsOf(ship, n) {
  return Array.from({ length: FLEET[n] }, (_, i) => (ship.row + (ship.down ? i : 0)) * SIZE + ship.col + (ship.down ? 0 : i));
}

function fits(fleet) {
  const taken = fleet.flatMap(cellsOf);
  const isInside = fleet.every((ship, n) => (ship.down ? ship.row : ship.col) + FLEET[n] <= SIZE);
  return isInside && new Set(taken).size === taken.length;
}

function randomFleet() {
  const below = (limit) => Math.floor(Math.random() * limit);
  const fleet = [];
  while (fleet.length < FLEET.length) {
    const ship = { row: below(SIZE), col: below(SIZE), down: below(2) === 1 };
    if (fits([...fleet, ship])) fleet.push(ship);
  }
  return fleet;
}
