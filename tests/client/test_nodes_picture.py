"""The picture of several nodes."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from vinom.client.terminal.nodes_picture import (
    GroupRow,
    NodeRow,
    Scenery,
    Spot,
    compose_nodes,
    node_line,
)

SCENERY = Scenery(
    "vinom demo · 2 nodes",
    "127.0.0.1:6379  7 keys",
    [
        NodeRow("A", "127.0.0.1:4600", "serving", 3, 2, ["match abc  ann bob"]),
        NodeRow("B", "127.0.0.1:4601", "killed"),
    ],
    [GroupRow([Spot("ann", "A"), Spot("bob", None)], "plays in match abc")],
    [GroupRow([Spot("ivy", "A")], "tictactoe")],
    [f"news {number}" for number in range(50)],
    "q ends",
)


class PictureTests(SynchronousTestCase):
    def test_who_is_where(self) -> None:
        """
        The picture has each node with its players and matches, each party, and Redis.
        """
        lines = compose_nodes(SCENERY, 80, 24, colour=False)
        text = "\n".join(lines)
        self.assertIn("node A  127.0.0.1:4600  lease 3  2 players: ann ivy", text)
        self.assertIn("match abc  ann bob", text)
        self.assertIn("node B  killed", text)
        self.assertIn("ann (A) bob (away)", text)
        self.assertIn("Redis   127.0.0.1:6379  7 keys", text)
        self.assertEqual(lines[-1].strip(), "q ends")
        self.assertIn("news 49", text)
        self.assertNotIn("news 0\n", text)

    def test_every_size(self) -> None:
        """
        It fits terminals of any size.
        """
        for width, height in ((1, 1), (20, 5), (40, 12), (80, 24), (200, 60)):
            lines = compose_nodes(SCENERY, width, height, colour=False)
            self.assertLessEqual(len(lines), height)
            self.assertLessEqual(max(map(len, lines)), width)

    def test_ascii(self) -> None:
        """
        A terminal without Unicode shows it too, and colours are left out if asked.
        """
        lines = compose_nodes(SCENERY, 80, 24, colour=False, ascii_only=True)
        self.assertTrue(all(line.isascii() and "\x1b" not in line for line in lines))
        self.assertIn("\x1b[", "".join(compose_nodes(SCENERY, 80, 24)))

    def test_line(self) -> None:
        """
        Without a terminal one line has the same, and who is without a node.
        """
        self.assertEqual(
            node_line(SCENERY),
            "A: ann ivy, match abc  ann bob; B: killed; without a node: bob",
        )
        self.assertEqual(
            node_line(attrs.evolve(SCENERY, parties=[], rooms=[])),
            "A: nobody, match abc  ann bob; B: killed",
        )
