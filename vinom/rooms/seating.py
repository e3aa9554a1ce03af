"""Who sits where in a room, in which team, and who has left."""

from __future__ import annotations

from typing import Any

from vinom.base.messages.rooms import RoomSeat
from vinom.base.model import SeatPlan
from vinom.errors import Code, Refused
from vinom.game import Game
from vinom.rooms.member import BotSeat, DialedSeat, Member

#: Who may have a seat.
Sitter = Member | BotSeat | DialedSeat


class Seating:
    """
    The seats of a room.

    :ivar seats: who has each seat; ``None`` is a free one.
    :ivar former: by seat, players of what is played who have left.
    """

    def __init__(self, name: str, game: Game[Any, Any]) -> None:
        """
        Begin without seats.

        :param name: of the game, as players ask for it.
        :param game: its rules: how many seats and teams it has.
        """
        self._name, self._game = name, game
        self.seats: list[Sitter | None] = []
        self.former: dict[int, RoomSeat] = {}
        # Of seats, taken or not; only those for which the host named one.
        self._teams: dict[int, int] = {}

    def taken(self) -> int:
        """Count the seats that somebody, or a bot, has."""
        return len(self.seats) - self.seats.count(None)

    @property
    def is_full(self) -> bool:
        """Does the game have no seat for one more?"""
        return self.taken() >= self._game.seats[1]

    def at(self, seat: int) -> Sitter | None:
        """Find who has a seat; ``None`` if nobody has it, or there is no such seat."""
        return self.seats[seat] if seat < len(self.seats) else None

    def players(self) -> tuple[RoomSeat, ...]:
        """List who sits where."""
        return tuple(who.as_listed() for who in self.seats if who is not None)

    def plans(self) -> tuple[SeatPlan, ...]:
        """List for the game who sits where."""
        return tuple(
            SeatPlan(who.player_id, who.name, who.loadout, who.team, who.claims)
            for who in self.seats
            if who is not None
        )

    def bot_name(self) -> str:
        """Choose the first name of the game's bots that nobody here has; or none."""
        taken = {who.name for who in self.seats if who is not None}
        return next((name for name in self._game.bot_names if name not in taken), "")

    def free(self) -> int:
        """Find a seat that nobody has, or add one; the game has one more."""
        for seat, who in enumerate(self.seats):
            if who is None:
                return seat
        self.seats.append(None)
        return len(self.seats) - 1

    def sit(self, seat: int, who: Sitter) -> None:
        """Give somebody a seat, and the team that it has."""
        before = self.seats[seat]
        # The seat of a match has its team, whoever plays it over whichever way.
        who.team = self._teams.get(seat) if before is None else before.team
        self.seats[seat] = who
        self.former.pop(seat, None)

    def stand_up(self, who: Sitter, is_played: bool) -> None:
        """
        Free somebody's seat.

        :param who: has it.
        :param is_played: keep the name, for those who play on.
        """
        seat = who.seat or 0
        self.seats[seat] = None
        if is_played:
            self.former[seat] = RoomSeat(seat, who.name, who.player_id, "left")

    def move_up(self) -> None:
        """Remove the free seats: those who sit behind them move up."""
        self.seats = [who for who in self.seats if who is not None]
        for seat, who in enumerate(self.seats):
            if who is not None:
                who.seat = seat
        # The players took their teams along; a later newcomer's is up to the rules.
        self._teams.clear()

    def teams(self) -> tuple[tuple[int, int], ...]:
        """List the seats for which the host named a team, with it."""
        return tuple(sorted(self._teams.items()))

    def restore_team(self, seat: int, team: int) -> None:
        """Note which team the host named for a seat, on another node."""
        self._teams[seat] = team

    def set_team(self, seat: int, team: int | None) -> None:
        """
        Choose the team of a seat, whether anybody has it or not.

        :param seat: the number of the seat.
        :param team: the number of the team; ``None`` leaves it to the game's rules.
        :raises Refused: the game has no such team or seat.
        """
        teams, most = self._game.teams or 0, self._game.seats[1]
        if seat >= most:
            raise Refused(
                Code.BAD_FIELD,
                f"seat {seat} does not exist: {self._name} has seats 0 to {most - 1}",
                {"field": "data.seat", "max": most - 1},
            )
        if team is not None and team >= teams:
            has = f"has teams 0 to {teams - 1}"
            raise Refused(
                Code.BAD_FIELD,
                f"team {team} does not exist: {self._name} {has}",
                {"field": "data.team"},
            )
        if team is None:
            self._teams.pop(seat, None)
        else:
            self._teams[seat] = team
        who = self.at(seat)
        if who is not None:
            who.team = team
