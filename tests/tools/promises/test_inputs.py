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


#: What happens; what was asked, with ``+`` for what was acknowledged, ``-`` for what
#: was refused and ``?`` for what has no answer; what was played; what is missing of
#: it, and what is doubled; and with an ``x``, what may be a bot's.
COMPARED: tuple[tuple[str, ...], ...] = (
    ("acknowledged inputs that were played once are as promised", "a+b+a+", "aba"),
    ("the first was not played", "a+b+c+", "bc", "a"),
    ("one in the middle", "a+b+c+", "ac", "b"),
    ("the last", "a+b+c+", "ab", "c"),
    ("none", "a+b+c+", "", "abc"),
    ("an input was played twice", "a+b+", "aab", "", "a"),
    ("the other one was", "a+b+", "abb", "", "b"),
    ("one that nobody asked for was played", "a+", "ax", "", "x"),
    ("an input without an answer may have been played", "a+b?c+", "abc"),
    ("or not", "a+b?c+", "ac"),
    ("but not twice", "a+b?", "abb", "", "b"),
    ("a refused input", "a+b-c+", "ac"),
    ("a refused input that was played", "a+b-c+", "abc", "", "b"),
    ("equal inputs are paired in any good way", "a?a+b+a?", "ab"),
    ("all of them, and one more", "a?a+a?b+", "aab"),
    ("one of two equal inputs is missing", "a+a+", "a", "a"),
    ("what a bot did meanwhile is nobody's input", "a+b+", "aqqb", "", "", " xx "),
    ("what no bot did is", "a+b+", "aqb", "", "q"),
)


class CompareTests(SynchronousTestCase):
    """What counts as missing, and what as doubled."""

    def verify(self, asked, letters, missing="", doubled="", foreign="") -> None:
        """Compare, and expect these letters."""
        found = compare(sent(*asked), played(letters, foreign), bytes.decode)
        lost = "".join(one.action.decode() for one in found.missing)
        twice = "".join(one.action for one in found.doubled)
        self.assertEqual((lost, twice), (missing, doubled), (asked, letters))

    def test_found(self) -> None:
        """
        What is missing is found, and what is doubled; nothing else is reported.
        """
        for what, asked, *expected in COMPARED:
            fates = {"+": A, "-": R, "?": N}
            pairs = zip(asked[::2], asked[1::2], strict=True)
            with self.subTest(what):
                self.verify([(one, fates[fate]) for one, fate in pairs], *expected)

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
