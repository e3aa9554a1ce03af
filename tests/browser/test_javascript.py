"""`vinom.js` in Node.js against a real server, and its types."""

from __future__ import annotations

import shutil
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from tests.support.child_nodes import start_node
from tests.support.javascript import FOLDER, needs_javascript
from tests.support.needs import path_of
from vinom.node.web.pages import STATIC
from vinom.play.contract import contract_of, document
from vinom.play.game_loader import load_games
from vinom.tools.commands.child_node import free_port
from vinom.tools.schema.kinds import Reading
from vinom.tools.schema.typescript import typescript

#: A client that uses the types; the compiler demands an error where it says so.
USE = """
import { connect } from "./vinom.js";
import type { TicTacToeRoom } from "./tictactoe.ts";

const client = await connect({ url: "ws://127.0.0.1:1/ws" });
const room = (await client.join("tictactoe")) as unknown as TicTacToeRoom;
room.on("state", (newer) => console.log(newer.version));
room.on("event", (event) => {
  if (event.kind === "began") console.log(event.data.starter + event.number);
  // @ts-expect-error
  if (event.kind === "began") console.log(event.data.winner);
});
await room.act({ type: "place", row: 0, col: room.view!.board.length });
await room.act({ type: "rematch" });
// @ts-expect-error
await room.act({ type: "place", row: "0", col: 0 });
const seconds: number = room.options.turn_seconds + room.players.length;
// @ts-expect-error
room.view!.deck;
"""


class JavaScriptTestCase(TestCase):
    """Runs programs in Node.js."""

    timeout = 300

    def setUp(self) -> None:
        needs_javascript()

    async def run_node(self, *arguments: str) -> str:
        """Run a program, which must succeed; returns what it printed."""
        out, errors, code = await getProcessOutputAndValue(
            path_of("node"), arguments, path=str(FOLDER), reactor=reactor
        )
        printed = (out + errors).decode(errors="replace")
        self.assertEqual(code, 0, printed)
        return printed


class TypesTests(JavaScriptTestCase):
    async def test_types(self) -> None:
        """
        vinom.js has types for TypeScript, and the page respects them: the compiler
        finds no errors in its strictest mode.
        """
        await self.run_node("node_modules/typescript/lib/tsc.js", "-p", ".")

    async def test_declaration(self) -> None:
        """
        The declaration of motion.js for TypeScript is what its own types say.
        """
        made, boards = self.mktemp(), STATIC / "boards"
        flags = "--allowJs --checkJs --strict --target es2022 --declaration"
        await self.run_node(
            "node_modules/typescript/lib/tsc.js",
            *flags.split(),
            "--emitDeclarationOnly",
            "--outDir",
            str(Path(made).resolve()),
            str(boards / "motion.js"),
        )
        self.assertEqual(
            Path(made, "motion.d.ts").read_text(), (boards / "motion.d.ts").read_text()
        )

    async def test_schemas(self) -> None:
        """
        What `vinom schema --to ts` writes for our games fits vinom.js, and tells right
        actions and fields from wrong ones.
        """
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        (folder / "package.json").write_text('{"type": "module"}')
        shutil.copy(STATIC / "vinom.js", folder)
        for name, game in load_games().items():
            written = typescript(Reading.of(document(contract_of(game))))
            (folder / f"{name}.ts").write_text(written)
        (folder / "use.ts").write_text(USE)
        flags = "--noEmit --allowJs --strict --target es2022 --module nodenext"
        files = sorted(map(str, folder.glob("*.ts")))
        await self.run_node(
            "node_modules/typescript/lib/tsc.js", *flags.split(), *files
        )


class SdkTests(JavaScriptTestCase):
    async def play(self, scenario: str, *settings: str) -> None:
        """Play one of the scenarios of play.mjs; *settings* may hold the port."""
        http = free_port()
        options = [one.replace("PORT", str(http)) for one in settings]
        await start_node(self, "--warm=0", f"--http={http}", *options)
        printed = await self.run_node("play.mjs", scenario, str(http))
        self.assertIn(f"{scenario}: done", printed)

    async def test_full_game(self) -> None:
        """
        A program plays two whole rounds against a bot, and receives each event once.
        """
        await self.play("play")

    async def test_ticks(self) -> None:
        """
        A game with ticks names the tick of each state, and the action that it answers.
        """
        await self.play("ticks")

    async def test_refusals(self) -> None:
        """
        Invalid requests fail with the server's code, and the game's reason.
        """
        await self.play("refusals")

    async def test_cut_network(self) -> None:
        """
        If the network is cut before every move, the game continues in the same seat,
        and each move counts once.
        """
        await self.play("cut")

    async def test_same_player_again(self) -> None:
        """
        A player who returns with the same key has the seat again; an older client of
        the same player gets the status "replaced", and does not reconnect.
        """
        await self.play("places")

    async def test_list(self) -> None:
        """
        A watched list of rooms is kept up to date, and the rooms in it can be watched.
        """
        await self.play("list")

    async def test_queue(self) -> None:
        """
        Two programs wait for a match, one of them through a network that is cut, and
        play it to its end in a game server, while a third watches it from the list.
        """
        await self.play("queue")

    async def test_party(self) -> None:
        """
        Two programs form a party by its token; one declines a match, and then both
        accept one and play it. The party is still there on a new connection.
        """
        await self.play("party", "--accept-seconds=30")

    async def test_buckets(self) -> None:
        """
        Two programs measure how far the regions are, one of which does not answer, and
        meet in a queue of a rule that needs it.
        """
        queues = '{"near": {"game": "tictactoe", "rule": "buckets"}}'
        await self.play(
            "buckets",
            f"--queues={queues}",
            "--region=eu",
            "--regions=eu=http://127.0.0.1:PORT/echo",
            "--regions=far=http://127.0.0.1:9/echo",
        )

    async def test_packed(self) -> None:
        """
        Views with grids arrive packed, less than half as long, and are read.
        """
        await self.play("packed", "--game=benchmarks.games.swarm:Swarm")

    async def test_patches(self) -> None:
        """
        States that arrive as patches equal the states that others received whole.
        """
        await self.play("patches")
