"""`vinom.js` in Node against a real node, and its types."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from tests.support.javascript import FOLDER, needs_javascript
from tests.support.needs import path_of
from vinom.commands.child_node import ChildNode, free_port


class JavaScriptTestCase(TestCase):
    """Runs programs of Node."""

    timeout = 300

    def setUp(self) -> None:
        needs_javascript()

    async def run_node(self, *arguments: str) -> str:
        """Run a program to its good end; what it printed."""
        out, errors, code = await getProcessOutputAndValue(
            path_of("node"), arguments, path=str(FOLDER), reactor=reactor
        )
        told = (out + errors).decode(errors="replace")
        self.assertEqual(code, 0, told)
        return told


class TypesTests(JavaScriptTestCase):
    async def test_types(self) -> None:
        """
        TypeScript gets types from vinom.js, and the page keeps to them:
        its compiler finds nothing, as strict as it can be.
        """
        await self.run_node("node_modules/typescript/lib/tsc.js", "-p", ".")


class SdkTests(JavaScriptTestCase):
    async def play(self, scenario: str) -> None:
        """Play one of the scenarios of play.mjs."""
        http = free_port()
        node = ChildNode(reactor, ["--warm=0", f"--http={http}"])
        self.addCleanup(node.stop)
        await node.start()
        told = await self.run_node("play.mjs", scenario, str(http))
        self.assertIn(f"{scenario}: done", told)

    async def test_full_game(self) -> None:
        """
        A program plays two whole rounds against a bot, and gets each event once.
        """
        await self.play("play")

    async def test_refusals(self) -> None:
        """
        What cannot be fails with the node's own code, and the game's own reason.
        """
        await self.play("refusals")

    async def test_cut_network(self) -> None:
        """
        With the network cut before every move a game goes on in the same seat, and
        each move counts once.
        """
        await self.play("cut")

    async def test_same_player_again(self) -> None:
        """
        A client that returns with the same key has the seat; an older client of the
        same player is informed, and does not fight for it.
        """
        await self.play("places")

    async def test_list(self) -> None:
        """
        A list of rooms lives while it is watched, and what it lists can be watched.
        """
        await self.play("list")

    async def test_queue(self) -> None:
        """
        Two programs wait for a match, one of them through a cut network, and play it to
        its end in a game server, while somebody watches who found it in the list.
        """
        await self.play("queue")

    async def test_patches(self) -> None:
        """
        States that come as patches are the states that others were sent whole.
        """
        await self.play("patches")
