"""Who is in a room, who sits where in which team, and who has left."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import inf
from typing import Any

import attrs
from msgspec import structs

from vinom.base.messages.envelope import Push
from vinom.base.messages.rooms import RoomSeat
from vinom.base.model import SeatPlan
from vinom.errors import Code, Refused
from vinom.game import Game
from vinom.lobby.conversation.conversation import Conversation, Line
from vinom.play.hosting.checkpoints import KeptMember
from vinom.play.hosting.host import RoomHost


@attrs.define(eq=False)
class Sitter:
    """
    Who may have a seat; the seat of a match has one from the start.

    :ivar seat: its number; ``None`` for a spectator.
    :ivar player_id: empty for a bot.
    :ivar loadout: canonical JSON, like *claims*.
    :ivar team: of that seat, if the host or the match's maker named one.
    :ivar level: of a bot, if the host chose one.
    """

    seat: int | None
    player_id: str
    name: str
    loadout: bytes = b"{}"
    claims: bytes = b"{}"
    team: int | None = None
    level: str = ""

    @property
    def presence(self) -> str:
        """ "here", "away" or "bot"."""
        return "bot"

    def as_listed(self) -> RoomSeat:
        """Describe it to players."""
        return RoomSeat(
            self.seat or 0, self.name, self.player_id, self.presence, self.team
        )


class BotSeat(Sitter):
    """A seat that the game's bot has."""

    def __init__(self, seat: int, name: str = "", level: str = "") -> None:
        """
        Seat the bot.

        :param name: by default one with the seat's number.
        :param level: at which it plays; empty for the first.
        """
        super().__init__(seat, "", name or f"bot {seat + 1}", level=level)


class DialedSeat(Sitter):
    """A seat of a match whose player plays over UDP, or has not come yet."""

    def __init__(self, number: int, plan: SeatPlan, is_here: bool) -> None:
        """
        Show a seat of a match.

        :param number: the number of the seat.
        :param plan: whose it is.
        :param is_here: is its player connected?
        """
        super().__init__(
            number, plan.player_id, plan.name, plan.loadout, plan.claims, plan.team
        )
        self.is_here = is_here

    @property
    def presence(self) -> str:
        return "here" if self.is_here else "away"


@attrs.define(eq=False)
class Member(Sitter):
    """
    One player in one room; it outlives connections.

    Numbers are those that announcements and events of the room carry.

    :ivar host: the address that it came from first.
    :ivar resume: hash of the secret that lets the player come back.
    :ivar epoch: counts the connections that the player came by.
    :ivar conversation: the present one; ``None`` while the player is away.
    :ivar line: what carries that conversation.
    :ivar lost_at: when the connection was lost, on the rooms' clock; infinite while
        there is one, and while the seat is kept for as long as play goes on.
    :ivar acted: id of the last action that reached a game of this room; only while
        none is being played, else `vinom.play.hosting.host.RoomHost` counts.
    :ivar applied: id of the last one that a state answered, likewise.
    :ivar seen: version of a state that the player says it has; 0 is none.
    :ivar is_packed: whether its views are packed, if the game has packed views.
    :ivar audience: which view it was sent last, and `floor` since which version.
    :ivar skipped: how many states it was not sent because it is behind.
    :ivar entered: the latest number when it came.
    :ivar events_told: number up to which it was sent the events.
    :ivar events_sent: the same, without what still waited in its line at the end.
    :ivar told: number of the last announcement that did not wait there.
    """

    entered: int = 0
    host: str = ""
    resume: bytes = b""
    epoch: int = 0
    acted: int = 0
    applied: int = 0
    seen: int = 0
    floor: int = 0
    skipped: int = 0
    is_packed: bool = False
    lost_at: float = inf
    audience: Hashable = "all"
    conversation: Conversation | None = None
    line: Line | None = None
    told: int = attrs.Factory(lambda self: self.entered, takes_self=True)
    events_told: int = attrs.Factory(lambda self: self.entered, takes_self=True)
    events_sent: int = attrs.Factory(lambda self: self.events_told, takes_self=True)

    @property
    def presence(self) -> str:
        return "away" if self.conversation is None else "here"

    def as_kept(self, host: RoomHost | None) -> KeptMember:
        """
        Describe it for a checkpoint; it has a seat.

        :param host: plays the room's game; ``None`` if nothing is played.
        """
        seat = self.seat or 0
        return KeptMember(
            self.player_id,
            self.name,
            self.claims,
            self.loadout,
            seat,
            self.team,
            self.host,
            self.resume,
            self.epoch,
            self.acted if host is None else host.acted[seat],
            self.applied if host is None else host.applied[seat],
            self.entered,
            self.told,
            self.events_told,
        )

    @classmethod
    def from_kept(cls, kept: KeptMember, now: float) -> Member:
        """Make a member of a checkpoint; it is away since *now*, or may be."""
        return cls(**structs.asdict(kept), lost_at=now)

    def send(self, push: Push) -> None:
        """Send the player news, if it is connected."""
        if self.conversation is not None:
            self.conversation.send(push)

    def warn(self, refusal: Refused) -> None:
        """Send the player what went wrong, if it is connected."""
        if self.conversation is not None:
            self.conversation.warn(refusal)

    def note_sent(self, number: int) -> None:
        """
        Note that announcements up to a number have left, unless some still wait.

        :param number: of the last announcement that its line was given.
        """
        line = self.line
        if line is not None and not line.has_unsent:
            self.told, self.events_sent = number, self.events_told

    def look_as(self, audience: Hashable, version: int) -> None:
        """Note which view it is sent from this version on."""
        if audience != self.audience:
            self.audience, self.floor, self.seen = audience, version, 0

    def connect(self, conversation: Conversation) -> None:
        """Note that the player is here by this conversation, and no other."""
        self.epoch += 1
        self.conversation, self.line = conversation, conversation.line
        self.lost_at = inf
        self.skipped = self.seen = self.floor = 0
        self.is_packed = False

    def disconnect(self, number: int) -> None:
        """
        Note that the player is away.

        :param number: the latest one; what still waits in the line was not read.
        """
        self.note_sent(number)
        self.events_told = self.events_sent
        self.conversation = self.line = None


class Seating:
    """
    The members of a room, and its seats.

    :ivar members: everybody who plays or watches, in the order they came.
    :ivar host: the member who may kick, start and so on.
    :ivar seats: who has each seat; ``None`` is a free one.
    :ivar former: by seat, players of what is played who have left.
    :ivar kicked: ids of players who cannot come back.
    :ivar teams: by seat, those that the host named.
    """

    def __init__(self, name: str, game: Game[Any, Any], seats: tuple[int, int]) -> None:
        """
        Begin without seats.

        :param name: of the game, as players ask for it.
        :param game: its rules: how many teams it has, and its bots' names.
        :param seats: the fewest and the most players.
        """
        self._name, self._game, self._most = name, game, seats[1]
        self.members: list[Member] = []
        self.host: Member | None = None
        self.seats: list[Sitter | None] = []
        self.former: dict[int, RoomSeat] = {}
        self.kicked: set[str] = set()
        # Players for whom seats are kept, and until when.
        self._expected: dict[str, float] = {}
        # Of seats, taken or not; only those for which the host named one.
        self.teams: dict[int, int] = {}

    @property
    def host_seat(self) -> int | None:
        """The host's seat, if there is a host."""
        return None if self.host is None else self.host.seat

    def oldest(self) -> Member | None:
        """Find who sits here longest, if possible somebody who is connected."""
        seated = [member for member in self.members if member.seat is not None]
        here = (member for member in seated if member.conversation is not None)
        return next(here, seated[0] if seated else None)

    def has_place_to_watch(self, most: int) -> bool:
        """May one more watch, of at most *most*?"""
        return sum(member.seat is None for member in self.members) < most

    def refuse_kicked(self, player_id: str) -> None:
        """
        Keep out a player who was kicked.

        :raises Refused: it was.
        """
        if player_id in self.kicked:
            raise Refused(Code.KICKED, "you were removed from this room")

    # Seats that are kept for newcomers.

    def unexpected(self) -> int:
        """Count the seats that nobody has, and that are kept for nobody."""
        return self._most - self.taken() - len(self._expected)

    def is_free_for(self, player_id: str) -> bool:
        """Is there a seat for this newcomer, kept for it or for nobody?"""
        return self.unexpected() + (player_id in self._expected) > 0

    def expect(self, player_ids: Sequence[str], until: float) -> bool:
        """
        Keep seats for newcomers who were sent here.

        :param until: the time when they are free again, seconds.
        :returns: ``False``, and keeps none, if there are not as many.
        """
        known = {*self.kicked, *self._expected, *(m.player_id for m in self.members)}
        if self.unexpected() < len(player_ids) or not known.isdisjoint(player_ids):
            return False
        self._expected.update(dict.fromkeys(player_ids, until))
        return True

    def expected_until(self) -> float:
        """Find when the first kept seat is free again; infinite if none is kept."""
        return min(self._expected.values(), default=inf)

    def forget_expected(self, now: float) -> bool:
        """Free the seats of those who did not come in time; are there any?"""
        late = [one for one, until in self._expected.items() if now >= until]
        for one in late:
            del self._expected[one]
        return bool(late)

    # The seats.

    def taken(self) -> int:
        """Count the seats that somebody, or a bot, has."""
        return len(self.seats) - self.seats.count(None)

    def at(self, seat: int) -> Sitter | None:
        """Find who has a seat; ``None`` if nobody has it, or there is no such seat."""
        return self.seats[seat] if seat < len(self.seats) else None

    def players(self) -> tuple[RoomSeat, ...]:
        """List who sits where."""
        return tuple(who.as_listed() for who in self.seats if who is not None)

    def plans(self) -> tuple[SeatPlan, ...]:
        """List for the game who sits where."""
        return tuple(
            SeatPlan(
                who.player_id, who.name, who.loadout, who.team, who.claims, who.level
            )
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
        who.team = self.teams.get(seat) if before is None else before.team
        self.seats[seat] = who
        self.former.pop(seat, None)
        self._expected.pop(who.player_id, None)

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
        self.teams.clear()

    def set_team(self, seat: int, team: int | None) -> None:
        """
        Choose the team of a seat, whether anybody has it or not.

        :param seat: the number of the seat.
        :param team: the number of the team; ``None`` leaves it to the game's rules.
        :raises Refused: the game has no such team or seat.
        """
        teams, most = self._game.teams or 0, self._most
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
            self.teams.pop(seat, None)
        else:
            self.teams[seat] = team
        who = self.at(seat)
        if who is not None:
            who.team = team
