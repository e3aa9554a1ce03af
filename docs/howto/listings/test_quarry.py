from quarry import Hit, Quarry

from vinom.game import Seat
from vinom.testing import play


def test_level():
    """
    A worker breaks as many stones as its level, and has them when it comes back.
    """
    ann = Seat("ann", player_id="a1", claims={"level": 3})
    match = play(Quarry, [ann, Seat("guest", player_id="g1")])
    for seat in (0, 1):
        match.act(seat, Hit())
    assert match.view() == {"stones": [["ann", 3], ["guest", 1]]}
    match.leave(0)
    assert match.join(ann) == 2
    assert match.view() == {"stones": [None, ["guest", 1], ["ann", 3]]}
