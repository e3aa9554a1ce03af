from quarry import Hit, Quarry

from vinom.game import Chance, Seat, Table


def test_level():
    """
    A worker breaks as many stones as its level, and has them when it comes back.
    """
    ann = Seat("ann", player_id="a1", claims={"level": 3})
    game = Quarry()
    s = game.start(Table((ann, Seat("guest", player_id="g1")), None, Chance(7)))
    for seat in (0, 1):
        s = game.act(s, seat, Hit(), 1.0)
    assert game.view(s, "all") == {"stones": [["ann", 3], ["guest", 1]]}
    s = game.joined(game.left(s, 0, 2.0), 0, 3.0, ann)
    assert game.view(s, "all") == {"stones": [["ann", 3], ["guest", 1]]}
