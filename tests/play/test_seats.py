"""Teams: planned with a match, or dealt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support.games import Tale, Teller
from vinom.base.model import MatchPlan, SeatPlan
from vinom.errors import Code, Refused
from vinom.game import Table
from vinom.play.room import Room
from vinom.play.seats import teams_of


class Pairs(Teller):
    """Two against two; shows who is with whom."""

    seats = (2, 4)
    teams = 2

    def start(self, table: Table) -> Tale:
        return Tale(tuple(f"{seat.name} {seat.team}" for seat in table.seats))


def seats_of(*teams: int | None) -> tuple[SeatPlan, ...]:
    """Plan a seat for each of *teams*."""
    return tuple(
        SeatPlan(f"p{number}", f"n{number}", team=team)
        for number, team in enumerate(teams)
    )


class TeamsTests(SynchronousTestCase):
    def test_dealt_in_turn(self) -> None:
        """
        Where nobody planned teams, players are dealt to them in turn.
        """
        self.assertEqual(teams_of(seats_of(*[None] * 5), 2), (0, 1, 0, 1, 0))
        self.assertEqual(teams_of(seats_of(None, None), None), (None, None))

    def test_planned(self) -> None:
        """
        Players who planned a team have it, and the others fill up the smaller ones.
        """
        self.assertEqual(teams_of(seats_of(None, 0, 0, None), 2), (1, 0, 0, 1))
        self.assertEqual(teams_of(seats_of(1, 0), 2), (1, 0))

    def test_no_such_team(self) -> None:
        """
        A team that the game does not have is refused before the room opens.
        """
        for team, teams in ((2, 2), (-1, 2), (0, None)):
            with self.assertRaises(Refused) as caught:
                teams_of(seats_of(None, team), teams)
            self.assertEqual(caught.exception.code, Code.BAD_OPTIONS)
        game = Pairs()
        with self.assertRaises(Refused):
            Room(MatchPlan("m", "pairs", seats_of(0, 5), 1), game, 0.0)

    def test_a_game_sees_its_teams(self) -> None:
        """
        The table that a game starts from has each seat's team.
        """
        room = Room(MatchPlan("m", "pairs", seats_of(None, 0, None), 1), Pairs(), 0.0)
        self.assertEqual(room.state.lines, ("n0 1", "n1 0", "n2 0"))

    @given(st.integers(1, 5), st.data())
    def test_nearly_equal(self, teams: int, data: st.DataObject) -> None:
        """
        Every plan holds, and a player who was dealt a team is in none that was larger
        by then than another.
        """
        planned = data.draw(
            st.lists(st.none() | st.integers(0, teams - 1), min_size=1, max_size=9)
        )
        dealt = teams_of(seats_of(*planned), teams)
        for seat, team in enumerate(planned):
            self.assertIn(dealt[seat], range(teams))
            if team is not None:
                self.assertEqual(dealt[seat], team)
        if not any(team is not None for team in planned):
            self.assertEqual(dealt, tuple(n % teams for n in range(len(planned))))
