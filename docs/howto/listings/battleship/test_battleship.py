from battleship import FLEET, Battleship, Fire, Place, Ship

from vinom.testing import play

#: One ship below the other.
ROWS = tuple(Ship(row, 0) for row in range(len(FLEET)))


def begin():
    match = play(Battleship)
    for seat in (0, 1):
        match.act(seat, Place(ROWS))
    return match


def test_secret():
    """
    Nobody sees the other's ships, not even what is left of them, until the end.
    """
    match = begin()
    assert match.view(0).ships == (match.state.ships[0], None)
    assert match.view().ships == (None, None)
    match.leave(1)
    assert match.view(0).ships == match.state.ships
    assert (match.outcome.places, match.view().how) == (((0,), (1,)), "left")


def test_placing():
    """
    Ships must not overlap or leave the sea, are placed once, and come before shots.
    """
    match = play(Battleship)
    assert match.rejected(0, Fire(0, 0)) == "wrong_phase"
    assert match.rejected(0, Place((Ship(0, 0),) * 5)) == "no_room"
    assert match.rejected(0, Place((Ship(0, 6), *ROWS[1:]))) == "no_room"
    match.act(0, Place(ROWS))
    assert match.rejected(0, Place(ROWS)) == "not_your_turn"
    match.wait(90.0)
    assert match.view().phase == "firing"
    assert len(match.state.ships[1]) == len(FLEET)


def test_sunk():
    """
    All learn of a hit, and of a ship all of whose cells are hit; the last one wins.
    """
    match = begin()
    first = match.view().turn
    cells = [cell for ship in match.state.ships[0] for cell in ship]
    for row, col in cells:
        match.act(first, Fire(row, col))
        if match.outcome is None:
            match.act(1 - first, Fire(9 - row, 9 - col))
    assert match.rejected(first, Fire(0, 0)) == "round_over"
    fired = [event.data for event in match.events if event.kind == "fired"]
    sunk = [shot["seat"] for shot in fired if shot["what"] == "sunk"]
    assert sunk == [first] * len(FLEET)
    assert (match.view().winner, match.view().how) == (first, "fleet")
    for seat in (0, 1):
        match.act(seat, {"type": "rematch"})
    assert (match.view().round, match.view().ships) == (2, (None, None))


def test_silence():
    """
    For two players who do nothing the computer plays, until one of them wins.
    """
    match = play(Battleship)
    match.wait(3600.0)
    assert match.outcome.round == 1
