from nim import Nim, Take

from vinom.game import Event
from vinom.testing import play


def test_last_match_wins():
    """
    Players take in turn, and who takes the last match wins.
    """
    match = play(Nim, seed=1, options={"pile": 4})
    first = match.view().turn
    match.act(first, Take(3))
    assert match.events[-1] == Event("took", {"seat": first, "count": 3})
    assert match.rejected(first, Take(1)) == "not_your_turn"
    match.act(1 - first, Take(1))
    assert match.outcome.places[0] == (1 - first,)


def test_silence_loses():
    """
    A player who does nothing for twenty seconds loses the round.
    """
    match = play(Nim)
    first = match.view().turn
    match.wait(20.0)
    assert (match.view().winner, match.view().how) == (1 - first, "timeout")


def test_leaver_loses():
    """
    Who loses the connection may return; who leaves has lost.
    """
    match = play(Nim)
    match.drop(0)
    match.return_(0)
    assert match.outcome is None
    match.leave(0)
    assert match.outcome.places == ((1,), (0,))
