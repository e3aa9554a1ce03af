"""Inputs that were sent, against those that were played."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vinom.tools.promises.replayed import Played, compare
from vinom.tools.promises.witness import Sent


def sent(*entries: tuple[str, str]) -> list[Sent]:
    """Make inputs of their letters and fates."""
    return [
        Sent(number, letter.encode(), fate)  # type: ignore[arg-type]
        for number, (letter, fate) in enumerate(entries, 1)
    ]


def played(letters: str, foreign: str = "") -> list[Played]:
    """Make played inputs; those whose place has an ``x`` may be a bot's."""
    return [
        Played(letter, float(at), foreign[at : at + 1] == "x")
        for at, letter in enumerate(letters)
    ]


A, R, N = "acknowledged", "refused", "open"


class CompareTests(SynchronousTestCase):
    """What counts as missing, and what as doubled."""

    def verify(self, asked, letters, missing="", doubled="", foreign="") -> None:
        """Compare, and expect these letters."""
        found = compare(sent(*asked), played(letters, foreign), bytes.decode)
        self.assertEqual("".join(one.action.decode() for one in found.missing), missing)
        self.assertEqual("".join(one.action for one in found.doubled), doubled)

    def test_all_played(self) -> None:
        """
        Acknowledged inputs that were played once are as promised.
        """
        self.verify([("a", A), ("b", A), ("a", A)], "aba")

    def test_missing(self) -> None:
        """
        An acknowledged input that was not played is found, wherever it is.
        """
        asked = [("a", A), ("b", A), ("c", A)]
        for letters, missing in (("bc", "a"), ("ac", "b"), ("ab", "c"), ("", "abc")):
            self.verify(asked, letters, missing=missing)

    def test_doubled(self) -> None:
        """
        An input that was played twice is found, also if the other was acknowledged.
        """
        self.verify([("a", A), ("b", A)], "aab", doubled="a")
        self.verify([("a", A), ("b", A)], "abb", doubled="b")
        self.verify([("a", A)], "ax", doubled="x")

    def test_open(self) -> None:
        """
        An input without an answer may have been played or not, but not twice.
        """
        self.verify([("a", A), ("b", N), ("c", A)], "abc")
        self.verify([("a", A), ("b", N), ("c", A)], "ac")
        self.verify([("a", A), ("b", N)], "abb", doubled="b")

    def test_refused(self) -> None:
        """
        A refused input that was played all the same is found.
        """
        self.verify([("a", A), ("b", R), ("c", A)], "ac")
        self.verify([("a", A), ("b", R), ("c", A)], "abc", doubled="b")

    def test_equal_inputs(self) -> None:
        """
        Equal inputs are not confused: any way to pair them is good.
        """
        self.verify([("a", N), ("a", A), ("b", A), ("a", N)], "ab")
        self.verify([("a", N), ("a", A), ("a", N), ("b", A)], "aab")
        self.verify([("a", A), ("a", A)], "a", missing="a")

    def test_bots(self) -> None:
        """
        What the game's bot did while the player was away is nobody's input.
        """
        self.verify([("a", A), ("b", A)], "aqqb", foreign=" xx ")
        self.verify([("a", A), ("b", A)], "aqb", doubled="q")

    def test_far_apart(self) -> None:
        """
        After one fault the rest is compared as before: only the fault is reported.
        """
        asked = [(letter, A) for letter in "abcdefghbijklmnop"]
        self.verify(asked, "abcdefghzbijklmnop", doubled="z")
        self.verify(asked, "acdefghbijklmnop", missing="b")
        self.verify(asked, "abbcdefghbijklmnp", doubled="b", missing="o")

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from((A, R, N)))),
        st.data(),
    )
    def test_any_match_that_keeps_the_promise(self, asked, data) -> None:
        """
        Whatever was sent, played and lost as promised, nothing is reported.
        """
        letters = "".join(
            letter
            for letter, fate in asked
            if fate == A or (fate == N and data.draw(st.booleans()))
        )
        self.verify(asked, letters)

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(st.sampled_from("ab"), min_size=1),
        st.data(),
    )
    def test_any_loss_and_any_double(self, asked, data) -> None:
        """
        If all inputs were acknowledged, one that is missing or doubled is found.
        """
        at = data.draw(st.integers(0, len(asked) - 1))
        everything = sent(*((letter, A) for letter in asked))
        short = played("".join(asked[:at] + asked[at + 1 :]))
        found = compare(everything, short, bytes.decode)
        self.assertEqual((len(found.missing), len(found.doubled)), (1, 0))
        long = played("".join([*asked[: at + 1], asked[at], *asked[at + 1 :]]))
        found = compare(everything, long, bytes.decode)
        self.assertGreaterEqual(len(found.doubled), 1)
