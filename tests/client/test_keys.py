"""Keys out of a terminal's bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vinom.client.terminal.screen import WATCHING, KeyReader


class KeyReaderTests(SynchronousTestCase):
    def test_any_split(self) -> None:
        """
        Arrow keys work however the terminal's bytes are cut.
        """
        wire = b"\x1b[A\x1bOBd\x1b[1;2C\x1b[D q"
        keys = ["up", "down", "right", "right", "left", "dance", "quit"]
        for cut in range(len(wire) + 1):
            reader = KeyReader()
            found = reader.receive(wire[:cut]) + reader.receive(wire[cut:])
            self.assertEqual(found, keys)

    def test_unknown_keys(self) -> None:
        """
        Keys that mean nothing do nothing, and do not swallow the next one.
        """
        self.assertEqual(KeyReader().receive(b"x\x1b[5~\x1bx\x1b\x1b[A"), ["up"])

    def test_watching(self) -> None:
        """
        Somebody who watches a demonstration has other keys.
        """
        wire = b"lkn\x1b[Aq"
        self.assertEqual(
            KeyReader(WATCHING).receive(wire), ["loss", "kill", "next", "up", "quit"]
        )
        self.assertEqual(KeyReader().receive(wire), ["right", "up", "up", "quit"])

    @given(st.lists(st.binary(max_size=12), max_size=8))
    def test_noise(self, pieces: list[bytes]) -> None:
        """
        No sequence of bytes breaks it, or makes it hold more and more of them.
        """
        reader = KeyReader()
        for piece in pieces:
            reader.receive(piece)
        self.assertLess(len(reader._held), 32)
