"""Rooms of a node with small games, players in them, and everything in memory."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from msgspec import Struct, json
from msgspec.structs import replace

from tests.support.glimpse import Glimpse
from tests.support.lobbies import LobbyWorld, MemoryLine
from vinom.base.messages.rooms import merge
from vinom.game import Chance, Event, Game, Outcome, Rejected, Seat, Step, Table
from vinom.lobby.conversation.conversation import Bounds
from vinom.rooms.round import RoomBounds


def kinds(said: list[dict[str, Any]]) -> list[str]:
    """Name the messages."""
    return [message["type"] for message in said]


def only(said: list[dict[str, Any]]) -> dict[str, Any]:
    """Take the one message that was sent."""
    assert len(said) == 1, said
    return said[0]


class Size(Struct, frozen=True, forbid_unknown_fields=True):
    """Something to choose."""

    size: int = 1


class Word(Struct, frozen=True, forbid_unknown_fields=True):
    """An action, named by its word."""

    word: str


class Heard(Struct, frozen=True):
    """
    What was sent.

    :ivar due: when the game is to be called.
    """

    seats: int
    said: int = 0
    last: str = ""
    due: float | None = None
    over: int = 0
    away: tuple[int, ...] = ()


class Pair(Game[Heard, Word]):
    """Two who talk."""

    name = "pair"
    actions = Word
    options = Size
    seats = (2, 2)
    linger = 60.0

    def start(self, table: Table) -> Heard | Step[Heard]:
        return Heard(len(table.seats))

    def act(self, s: Heard, seat: int, action: Word, now: float) -> Heard | Step[Heard]:
        said = replace(s, said=s.said + 1, last=action.word)
        match action.word:
            case "no":
                raise Rejected("no", "just no")
            case "nothing":
                return s
            case "event":
                return Step(said, (Event("said", {"seat": seat}),))
            case "whisper":
                return Step(said, (Event("psst", "x", to=1 - seat),))
            case "boom":
                raise ZeroDivisionError("the game is broken")
            case "unencodable":
                return replace(said, last=object())
            case "bad event":
                return Step(said, (Event("bad", object()),))
            case "stuck":
                return replace(said, due=now + 1.0)
            case "end":
                return replace(said, over=s.over + 1)
        return said

    def deadline(self, s: Heard) -> float | None:
        return s.due

    def advance(self, s: Heard, now: float) -> Heard:
        return replace(s, said=s.said + 1)

    def view(self, s: Heard, audience: Hashable) -> dict[str, Any]:
        return {"seats": s.seats, "said": s.said, "last": s.last}

    def outcome(self, s: Heard) -> Outcome | None:
        if not s.over:
            return None
        return Outcome(s.over, (tuple(range(s.seats)),), (0,) * s.seats)

    def bot(self, view: Any, seat: int, chance: Chance, setup: Any) -> Word:
        return Word(f"bot {view['said']}")

    def dropped(self, s: Heard, seat: int, now: float) -> Heard:
        return replace(s, away=(*s.away, seat))

    def returned(self, s: Heard, seat: int, now: float) -> Heard:
        return replace(s, away=tuple(a for a in s.away if a != seat))


class Few(Pair):
    """Two to four who talk."""

    name = "few"
    seats = (2, 4)


class Rounds(Pair):
    """Its players begin another round themselves, by the word "again"."""

    name = "rounds"

    def start(self, table: Table) -> Step[Heard]:
        return Step(super().start(table), (Event("began", None),))

    def outcome(self, s: Heard) -> Outcome | None:
        return None if s.last == "again" else super().outcome(s)


class Each(Pair):
    """Every word counts."""

    name = "each"
    states = "every"


class Open(Pair):
    """Anybody may come."""

    name = "open"
    seats = (1, 3)
    late_join = True

    def joined(self, s: Heard, seat: int, now: float, newcomer: Seat) -> Heard:
        return replace(s, seats=max(s.seats, seat + 1))


class Secret(Pair):
    """Everybody sees something else."""

    name = "secret"

    def audience(self, s: Heard, seat: int | None) -> Hashable:
        return seat

    def view(self, s: Heard, audience: Hashable) -> dict[str, Any]:
        return {**super().view(s, audience), "you": audience}


class Wide(Pair):
    """A view that changes little."""

    name = "wide"

    def view(self, s: Heard, audience: Hashable) -> dict[str, Any]:
        board = {str(n): {"x": n, "y": [n, None]} for n in range(30)}
        more = {"odd": None} if s.said % 7 == 6 else {}
        return {**super().view(s, audience), "board": board, **more}


class Missing(Pair):
    """Everybody sees who is away."""

    name = "missing"
    seats = (3, 3)

    def view(self, s: Heard, audience: Hashable) -> dict[str, Any]:
        return {**super().view(s, audience), "away": s.away}


class Beat(Pair):
    """Ten ticks per second."""

    name = "beat"
    seats = (1, 2)
    late_join = True
    tick_hz = 10

    def tick(self, s: Heard, inputs: Any, n: int) -> Heard:
        for _, action in inputs:
            s = replace(s, said=s.said + 1, last=action.word)
        return s

    def joined(self, s: Heard, seat: int, now: float, newcomer: Seat) -> Heard:
        return replace(s, seats=max(s.seats, seat + 1))


class Between(Beat):
    """A game with ticks that also has a deadline between two of them."""

    name = "between"

    def deadline(self, s: Heard) -> float | None:
        return 0.05 if not s.said else None

    def advance(self, s: Heard, now: float) -> Heard:
        return replace(s, said=s.said + 1)


class NoBot(Pair):
    """A game for people."""

    name = "nobot"
    bot = Game.bot


class Brief(Pair):
    """A game that does not wait long for anybody."""

    name = "brief"
    grace_seconds = 5.0


class Hosted(Few):
    """A game that stores who is host."""

    name = "hosted"

    def start(self, table: Table) -> Heard:
        return Heard(len(table.seats), last=f"seat {table.host} is host")


class Sides(Few):
    """A game of two teams that stores who plays in which, as it was given."""

    name = "sides"
    teams = 2

    def start(self, table: Table) -> Heard:
        who = ((one.player_id[:6], one.name, one.team) for one in table.seats)
        return Heard(len(table.seats), last=" ".join(f"{i}/{n}/{t}" for i, n, t in who))


GAMES: tuple[type[Game[Any, Any]], ...] = (
    *(Pair, Few, Each, Open, Secret, Wide, Missing, Beat, Between, NoBot, Brief),
    *(Hosted, Sides, Rounds, Glimpse),
)


class RoomsWorld(LobbyWorld):
    """A lobby with these games."""

    merge = staticmethod(merge)

    def __init__(
        self,
        seed: int = 1,
        actions: float = 100.0,
        rate: float = 100.0,
        burst: float = 1000.0,
        is_edited: bool = False,
        **bounds: Any,
    ) -> None:
        super().__init__(
            seed,
            games={game.name: game() for game in GAMES},
            bounds=Bounds(rate=rate, burst=burst, actions=actions),
            room_bounds=RoomBounds(**bounds),
            is_edited=is_edited,
        )

    def turn(self) -> None:
        """End the turn of the reactor."""
        self.clock.advance(0)

    def joined(
        self, name: str, room_id: str | None, game: str = "few", **more: Any
    ) -> tuple[PlayerLine, dict[str, Any]]:
        """Say hello and join a room; returns the line and what it was sent of it."""
        line, _ = self.hello(name)
        if room_id is not None:
            # So that it is listed.
            more = {"public": True, **more, "room_id": room_id}
        result = line.ask("join_room", game=game, **more)[-1]
        assert result["type"] == "join_room_result", result
        self.turn()
        return line, result["data"]

    def make_line(self, host: str, ends_at_match: bool) -> MemoryLine:
        return PlayerLine(host, ends_at_match)


class PlayerLine(MemoryLine):
    """A line whose other end plays."""

    def act(
        self,
        id: object = None,
        room_id: str | None = None,
        seen: int | None = None,
        **data: Any,
    ) -> list[dict[str, Any]]:
        """Send one action; returns what was sent since."""
        self.do(id, room_id, seen, **data)
        return self.heard()

    def do(
        self,
        id: object = None,
        room_id: str | None = None,
        seen: int | None = None,
        **data: Any,
    ) -> None:
        """Send one action."""
        asked = {"type": "action", "data": data}
        for name, value in (("id", id), ("room_id", room_id), ("seen", seen)):
            if value is not None:
                asked[name] = value
        self.conversation.received(json.encode(asked))

    def say(self, kind: str, **data: Any) -> None:
        """Send one request; the answers stay in the line."""
        self.conversation.received(json.encode({"type": kind, "data": data}))

    def catch_up(self) -> None:
        """Take everything that was sent."""
        self.is_behind = False
        self.conversation.caught_up()
