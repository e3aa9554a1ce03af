import { connect } from "./vinom.js";
import { reloadWhenSaved } from "./dev.js";

const status = document.getElementById("status");
const cells = document.getElementById("cells");
reloadWhenSaved();

try {
  const client = await connect({ name: "somebody", storage: sessionStorage });
  status.textContent = "Waiting for another player…";
  const room = await client.join("tictactoe");
  room.on("state", () => draw(room));
  // Play may have begun before we listened.
  if (room.view !== null) draw(room);
} catch (error) {
  status.textContent = error.message;
}

function draw(room) {
  const { board, turn } = room.view;
  status.textContent = turn === room.seat ? "Your turn" : turn === null ? "Over" : "Wait";
  cells.replaceChildren(
    ...board.flatMap((line, row) =>
      line.map((seat, col) => {
        const cell = document.createElement("button");
        cell.textContent = seat === null ? "" : "XO"[seat];
        cell.onclick = () => room.act({ type: "place", row, col });
        return cell;
      }),
    ),
  );
}
