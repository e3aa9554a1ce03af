"""Tests of vinom.play.hosting.checkpoints: what is read goes on, or is refused."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from tests.play.hosting.test_host import Silent
from vinom.base.model import MatchPlan, SeatPlan
from vinom.errors import Unreadable
from vinom.game import Event, Game, Outcome, Step, Table
from vinom.play.hosting.checkpoints import (
    Checkpoint,
    KeptPlay,
    keep_play,
    read_checkpoint,
    resume_from,
    write_checkpoint,
)
from vinom.play.hosting.host import RoomHost
from vinom.play.room import Emitted, Room, RoundOver
from vinom.play.states import codec_of


class Add(Struct, frozen=True):
    """Add a number."""

    number: int


class Sum(Struct, frozen=True):
    """What was added."""

    total: int


class Adding(Game[Sum, Add]):
    """Whoever reaches ten ends the round."""

    name = "adding"
    actions = Add
    seats = (2, 2)
    linger = 60.0

    def start(self, table: Table) -> Sum:
        return Sum(0)

    def act(self, s: Sum, seat: int, action: Add, now: float) -> Sum | Step[Sum]:
        total = Sum(s.total + action.number)
        return Step(total, (Event("added", {"by": seat}),))

    def view(self, s: Sum, audience: Hashable) -> dict[str, Any]:
        return {"total": s.total}

    def deadline(self, s: Sum) -> float | None:
        return 100.0 + s.total

    def outcome(self, s: Sum) -> Outcome | None:
        return Outcome(1, ((0,), (1,)), (1, 0)) if s.total >= 10 else None


class Total(Struct, frozen=True):
    """The same in a later version."""

    total: int
    largest: int


class Later(Game[Total, Add]):
    """A later version, which converts the states of the first."""

    name = "adding"
    actions = Add
    seats = (2, 2)
    schema = 2

    def start(self, table: Table) -> Total:
        return Total(0, 0)

    def act(self, s: Total, seat: int, action: Add, now: float) -> Total:
        return s

    def view(self, s: Total, audience: Hashable) -> dict[str, Any]:
        return {"total": s.total}

    def migrate(self, old: Any, schema: int) -> Any:
        if schema != 1:
            raise Unreadable("too old")
        return Total(old["total"], 0)


class Wrong(Later):
    """A later version that converts them to what is no state."""

    def migrate(self, old: Any, schema: int) -> Any:
        return [old["total"]]


class Stubborn(Later):
    """A later version that converts nothing."""

    migrate = Game.migrate


PLAN = MatchPlan("m1", "adding", (SeatPlan("a", "Ann"), SeatPlan("b", "Bob")), 7)


class CheckpointTests(SynchronousTestCase):
    """A room goes on where another stopped."""

    def setUp(self) -> None:
        self.game = Adding()
        self.codec = codec_of(self.game)
        self.host = RoomHost(Room(PLAN, self.game, 50.0), Silent())
        for seat in (0, 1):
            self.host.room.join(seat, 50.0)
        self.host.end_turn(50.0)

    def act(self, seat: int, number: int, now: float) -> None:
        self.host.act(seat, 1, Add(number), lambda data: data, now)

    def kept(self, now: float) -> KeptPlay:
        """Write a checkpoint as bytes, and read it."""
        checkpoint = Checkpoint(
            *("r1", "adding", b"{}", True, True, "127.0.0.1"),
            *((), (), (), (), ()),
            *(3, 0, False, None, 0, ()),
            keep_play(self.host, self.codec, now),
        )
        found = read_checkpoint(write_checkpoint(checkpoint))
        self.assertEqual(found, checkpoint)
        return found.play

    def resume(self, game: Game[Any, Any], kept: KeptPlay, now: float) -> Room:
        resumed = resume_from(kept, game, codec_of(game))
        return Room(kept.plan, game, now, resumed=resumed)

    def test_goes_on(self) -> None:
        """
        State, version, match time and deadlines go on; time stood still meanwhile, and
        goes on when somebody is back.
        """
        self.act(0, 3, 52.0)
        self.host.end_turn(52.0)
        room = self.resume(self.game, self.kept(54.0), 1000.0)
        self.assertEqual((room.state, room.version), (Sum(3), 2))
        self.assertEqual((room.match_time(1005.0), room.present()), (4.0, ()))
        room.join(1, 1010.0)
        self.assertEqual(room.match_time(1011.0), 5.0)
        self.assertEqual(room.deadline(), 1010.0 + 103.0 - 4.0)
        room.act(1, Add(1), 1012.0)
        self.assertEqual(room.state, Sum(4))

    def test_what_was_not_shown(self) -> None:
        """
        Events and the end of a round that nobody was sent are sent once; those that
        were sent are not sent again.
        """
        self.act(0, 10, 52.0)
        room = self.resume(self.game, self.kept(52.0), 1000.0)
        self.assertEqual(
            [type(effect) for effect in room.take_effects()], [Emitted, RoundOver]
        )
        self.assertEqual(room.phase, "over")
        self.host.end_turn(52.0)
        room = self.resume(self.game, self.kept(72.0), 1000.0)
        self.assertEqual((room.take_effects(), room.phase), ([], "over"))
        room.join(0, 1000.0)
        room.alarm(1041.0)
        self.assertEqual(room.phase, "closed")

    def test_migrates(self) -> None:
        """
        A newer game converts the state; without that it says in a sentence what to do.
        """
        self.act(0, 3, 52.0)
        kept = self.kept(52.0)
        self.assertEqual(self.resume(Later(), kept, 0.0).state, Total(3, 0))
        self.refused(Stubborn(), kept, "write Stubborn.migrate")
        self.refused(Wrong(), kept, "Wrong.migrate failed for schema 1")

    def test_refused(self) -> None:
        """
        What is newer, damaged or something else is refused in a sentence.
        """
        kept = self.kept(52.0)
        newer = replace(kept, schema=2)
        self.refused(self.game, newer, "install the newer game on this node")
        damaged = replace(kept, state=kept.state[:-1])
        self.refused(self.game, damaged, "the stored state cannot be read")
        other = replace(kept, state=codec_of(Later()).encode(Total(1, 1)))
        self.refused(self.game, other, "the stored state")
        for wrong in ({"presence": ("here", "left")}, {"applied": (1,)}):
            self.refused(self.game, replace(kept, **wrong), "seats")

    def refused(self, game: Game[Any, Any], kept: KeptPlay, why: str) -> None:
        with self.assertRaises(Unreadable) as caught:
            resume_from(kept, game, codec_of(game))
        self.assertIn(why, str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))

    def test_no_checkpoint(self) -> None:
        """
        Bytes of another format, or of nothing at all, are refused, wherever they end.
        """
        whole = write_checkpoint(
            Checkpoint(
                *("r1", "adding", b"{}", True, True, "127.0.0.1"),
                *((), (), (), (), ()),
                *(3, 0, False, None, 0, ()),
                keep_play(self.host, self.codec, 52.0),
            )
        )
        for length in range(len(whole)):
            with self.assertRaises(Unreadable):
                read_checkpoint(whole[:length])
        with self.assertRaises(Unreadable) as caught:
            read_checkpoint(b"\x81\xa6format\x09")
        self.assertIn("format 9", str(caught.exception))
