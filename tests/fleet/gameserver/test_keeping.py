"""Checkpoints of a match: what another game server goes on with."""

from __future__ import annotations

import random
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.support.game_net import HOST, PORT, GameNet, GamePlayer
from tests.support.games import Say, Tale, Teller, Ticking
from vinom.base.model import MatchPlan, SeatPlan
from vinom.errors import PeerError, Unreadable
from vinom.fleet.control.checkpoints import apply_change, change_between
from vinom.fleet.control.messages import (
    Adopted,
    CloseRoom,
    HandOver,
    Kept,
    KeptTaken,
    MatchStarted,
    RoomEnded,
)
from vinom.fleet.gameserver.keeping import read_kept
from vinom.net.packets.player import StateArrived
from vinom.play.states import codec_of


def match_plan() -> MatchPlan:
    """The plan of `GameNet`'s first match."""
    seats = tuple(SeatPlan(f"p{seat}", f"name {seat}") for seat in range(2))
    return MatchPlan("m1", "teller", seats, seed=7)


def successor(net: GameNet, game: str = "teller", seats: int = 2) -> GameNet:
    """Another process, which got the newest checkpoint of the first one."""
    data, number = net.checkpoint
    other = GameNet(seed=1)
    other.reactor.rightNow = net.reactor.seconds()
    other.bind()
    other.open(game=game, seats=seats, checkpoint=data, number=number)
    return other


class GoOnTests(SynchronousTestCase):
    """A process is killed, and another one goes on with its match."""

    def test_goes_on(self) -> None:
        """
        Players who come back with their resume tokens find the game as it was.
        """
        net = GameNet()
        players = net.begin()
        players[0].say("before")
        net.run(0.2)
        version = players[1].seen.version
        other = successor(net)
        back = [other.resumed(seat, players[seat].resume) for seat in range(2)]
        other.run(0.5)
        self.assertIn("before", " ".join(back[1].lines))
        self.assertGreater(back[1].seen.version, version)
        back[1].say("after")
        other.run(0.2)
        self.assertIn("after", back[0].lines[-1])

    def test_seats_are_reported(self) -> None:
        """
        The node learns which seats wait for their players, and who is back.
        """
        net = GameNet()
        players = net.begin(seats=3)
        players[2].leave()
        net.run(0.2)
        other = successor(net, seats=3)
        self.assertEqual(
            other.seat_changes, [(0, "dropped"), (1, "dropped"), (2, "left")]
        )
        self.assertEqual(len(other.of(MatchStarted)), 1)
        other.resumed(0, players[0].resume)
        other.run(0.3)
        self.assertEqual(other.seat_changes[3:], [(0, "returned")])

    def test_went_back(self) -> None:
        """
        Players who saw more than the checkpoint has see what comes then as newer, and
        miss no message of it.
        """
        net = GameNet()
        players = net.begin()
        data, number = net.checkpoint
        for word in ("forgotten", "lines"):
            players[0].say(word)
            net.run(0.2)
        other = GameNet(seed=1)
        other.reactor.rightNow = net.reactor.seconds()
        other.open(checkpoint=data, number=number, forgotten=10_000)
        back = [
            GamePlayer(
                other,
                other.label("m1", seat),
                resume=one.resume,
                link_state=one.link_state,
            )
            for seat, one in enumerate(players)
        ]
        other.run(0.5)
        self.assertGreater(back[1].seen.version, players[1].seen.version)
        self.assertNotIn("lines", " ".join(back[1].lines))
        back[0].say("new")
        other.run(0.5)
        self.assertIn("new", back[1].lines[-1])

    def test_before_play(self) -> None:
        """
        A match that had not begun begins when all have come, whoever came before; who
        has left stays away.
        """
        net = GameNet()
        net.open(seats=3)
        first = net.player(0)
        net.run(0.3)
        self.assertEqual(first.of(StateArrived), [])
        third = net.player(2)
        net.run(0.3)
        third.leave()
        net.run(0.3)
        other = successor(net, seats=3)
        again, second = other.resumed(0, first.resume), other.player(1)
        other.run(0.5)
        self.assertEqual(other.ends, [])
        self.assertIn((2, "left"), other.seat_changes)
        for player in (again, second):
            self.assertGreater(player.seen.version, 0)

    def test_time_stands_still(self) -> None:
        """
        Match time stops while nobody can play.
        """
        net = GameNet()
        players = net.begin()
        players[0].say("wake 2.0")
        net.run(1.0)
        time = players[0].seen.time
        other = successor(net)
        other.run(5.0)
        back = other.resumed(0, players[0].resume)
        other.run(0.2)
        self.assertLess(back.seen.time, time + 1.5)

    def test_tokens_stay_used(self) -> None:
        """
        A token that was used up opens no seat at the next game server either, and an
        older resume token does not.
        """
        net = GameNet()
        net.open()
        token = net.token(0, token_id="once")
        player = net.player(0, token=token)
        net.player(1)
        net.run(0.3)
        old = player.resume
        newer = net.resumed(0, old)
        net.run(0.3)
        other = successor(net)
        again = other.player(0, token=token)
        other.run(0.3)
        self.assertEqual(again.rejections, ["token_used"])
        late = other.resumed(0, old)
        other.run(0.3)
        self.assertEqual(late.rejections, ["bad_token"])
        right = other.resumed(0, newer.resume)
        other.run(0.3)
        self.assertEqual(right.rejections, [])
        seat = other.server.rooms["m1"].seats[0]
        self.assertGreater(seat.door.epoch, net.server.rooms["m1"].seats[0].door.epoch)

    def test_waiting_actions(self) -> None:
        """
        An action that was acknowledged and waits for a tick is not lost.
        """
        net = GameNet()
        players = net.begin(game="ticking")
        net.server.rooms["m1"].host.act(
            0, 1, b"", lambda _: Say("waits"), net.reactor.seconds()
        )
        net.server.rooms["m1"].end_turn(net.reactor.seconds())
        # No time passes: the next tick would take it.
        net.server.matches.checkpoints.may_send()
        other = successor(net, game="ticking")
        back = other.resumed(0, players[0].resume)
        other.run(0.5)
        self.assertIn("waits", back.lines[-1])
        self.assertEqual(other.server.rooms["m1"].host.acted, [1, 0])

    def test_goes_on_again(self) -> None:
        """
        A match goes on as often as its processes die; checkpoints count on.
        """
        net = GameNet()
        resume = [player.resume for player in net.begin()]
        last = net.checkpoint[1]
        for _ in range(3):
            net = successor(net)
            back = [net.resumed(seat, resume[seat]) for seat in range(2)]
            net.run(0.3)
            back[0].say("again")
            net.run(0.3)
            resume = [player.resume for player in back]
            self.assertEqual(net.of(Kept)[0].number, last + 1)
            last = net.checkpoint[1]
        self.assertEqual([line for line in back[1].lines if "again" in line][3:], [])
        self.assertEqual(len([line for line in back[1].lines if "again" in line]), 3)

    def test_crash_is_a_crash(self) -> None:
        """
        A game that fails ends its match, as ever.
        """
        net = GameNet()
        players = net.begin()
        other = successor(net)
        back = other.resumed(0, players[0].resume)
        other.run(0.3)
        back.say("boom")
        other.run(0.3)
        self.assertEqual([end.reason for end in other.ends], ["crashed"])

    def test_parts(self) -> None:
        """
        The recording goes on in a part that begins with the checkpoint.
        """
        net = GameNet()
        players = net.begin()
        players[0].say("one")
        net.run(0.2)
        state = net.server.rooms["m1"].room.state
        other = successor(net)
        part = other.recordings.matches["m1"].part
        assert part is not None
        self.assertEqual((part.number, part.before), (2, "m1.vinomrec"))
        self.assertEqual(codec_of(Teller()).decode(part.state), state)


class RefusedTests(SynchronousTestCase):
    """Checkpoints that nobody can go on from."""

    def refused(self, data: bytes, game: str = "teller", **options: Any) -> str:
        """Give a game server this one; why the match is lost."""
        net = GameNet(**options)
        net.open(game=game, checkpoint=data, number=5)
        (end,) = net.ends
        self.assertEqual((end.match_id, end.reason), ("m1", "lost"))
        self.assertNotEqual(end.why, "")
        self.assertEqual(net.stopped, 1)
        return end.why

    def kept(self, game: str = "teller") -> bytes:
        """A good one."""
        net = GameNet()
        players = net.begin(game=game)
        players[0].say("one")
        net.run(0.2)
        return net.checkpoint[0]

    def test_every_prefix(self) -> None:
        """
        One that is cut anywhere is refused.
        """
        data = self.kept()
        plan = match_plan()
        for length in range(len(data)):
            with self.assertRaises(Unreadable):
                read_kept(data[:length], plan)
        self.assertIn("not a checkpoint", self.refused(data[:6]))
        self.assertIn("damaged", self.refused(data[:-1]))

    def test_every_bit(self) -> None:
        """
        One with any bit that is wrong is refused.
        """
        data = self.kept()
        plan = match_plan()
        for at in range(len(data) * 8):
            wrong = bytearray(data)
            wrong[at // 8] ^= 1 << at % 8
            with self.assertRaises(Unreadable):
                read_kept(bytes(wrong), plan)

    def test_foreign(self) -> None:
        """
        One of another match, or another game, is refused.
        """
        data = self.kept()
        for plan in (
            attrs.evolve(match_plan(), match_id="m2"),
            attrs.evolve(match_plan(), game="ticking"),
        ):
            with self.assertRaisesRegex(Unreadable, "is of match m1 of teller"):
                read_kept(data, plan)
        why = self.refused(self.kept(), game="ticking")
        self.assertIn("not of match m1 of ticking", why)

    def test_future(self) -> None:
        """
        One of a later layout, or of a newer game, is refused in words.
        """
        data = self.kept()
        self.assertIn("has format 2", self.refused(data[:3] + b"\x02" + data[4:]))
        newer = Teller()
        newer.schema = 7
        net = GameNet(games={"teller": newer})
        net.begin()
        why = self.refused(net.checkpoint[0])
        self.assertIn("has schema 7 of teller", why)

    def test_migrated(self) -> None:
        """
        A newer game goes on with an older state if it can convert it; if it cannot, or
        fails, the match is lost with its reason.
        """
        data = self.kept()

        class Newer(Teller):
            schema = 2

            def migrate(self, old: Any, schema: int) -> Tale:
                return Tale((*old["lines"], f"from {schema}"))

        net = GameNet(games={"teller": Newer()})
        net.open(checkpoint=data, number=5)
        self.assertEqual(net.ends, [])
        self.assertIn("from 1", net.server.rooms["m1"].room.state.lines)

        class Unable(Teller):
            schema = 2

        why = self.refused(data, games={"teller": Unable()})
        self.assertIn("migrate", why)

        class Failing(Teller):
            schema = 2

            def migrate(self, old: Any, schema: int) -> Tale:
                raise KeyError("rounds")

        why = self.refused(data, games={"teller": Failing()})
        self.assertIn("migrate failed", why)

    def test_others_play_on(self) -> None:
        """
        The other matches of a process are not hurt.
        """
        net = GameNet(rooms_limit=2)
        players = net.begin()
        net.open("m2", checkpoint=b"nonsense", number=3)
        self.assertEqual([end.match_id for end in net.ends], ["m2"])
        players[0].say("still here")
        net.run(0.2)
        self.assertIn("still here", players[1].lines[-1])


class ChangeTests(SynchronousTestCase):
    """Changes between checkpoints."""

    def test_any(self) -> None:
        """
        Whatever changed, the newer one is made of the older.
        """
        chance = random.Random(3)
        for _ in range(3000):
            old = bytes(chance.choices(b"ab", k=chance.choice((0, 1, 50, 3000))))
            new = bytearray(old)
            for _ in range(chance.randrange(4)):
                at = chance.randrange(len(new) + 1)
                new[at : at + chance.randrange(9)] = chance.randbytes(
                    chance.randrange(9)
                )
            change = change_between(old, bytes(new))
            self.assertEqual(apply_change(old, change), new)

    def test_small(self) -> None:
        """
        One byte in many is a change of a few bytes.
        """
        old = bytes(range(256)) * 40
        new = old[:5000] + b"!" + old[5001:]
        self.assertLess(len(change_between(old, new)), 12)

    def test_not_of_these(self) -> None:
        """
        A change of longer bytes, and what is none, are refused.
        """
        for change in (b"", b"1234567", change_between(b"x" * 9, b"x" * 9)):
            with self.assertRaises(PeerError):
                apply_change(b"x" * 8, change)


class LossyLinkTests(SynchronousTestCase):
    """Over TCP a checkpoint can be lost with its process."""

    def test_waits_for_the_answer(self) -> None:
        """
        A game that wants it shows nothing before the node has answered.
        """
        net = GameNet()
        players = net.begin()
        net.server.linked(net.told.append, is_lossy=True)
        self.check_waits(net, players)

    def test_waits_for_the_store(self) -> None:
        """
        Nor does one that shows only what the store has, over any link.
        """
        game = Teller()
        game.durability = "store"
        net = GameNet(games={"teller": game})
        net.open()
        players = [net.player(seat) for seat in range(2)]
        self.answer(net, 0.5)
        self.check_waits(net, players)

    def check_waits(self, net: GameNet, players: list[GamePlayer]) -> None:
        before = len(players[1].lines)
        players[0].say("unsafe")
        net.run(0.5)
        self.assertEqual(len(players[1].lines), before)
        net.server.received(KeptTaken("m1", net.checkpoint[1]))
        net.server.received(KeptTaken("m9", 1))
        net.run(0.2)
        net.server.received(KeptTaken("m1", net.checkpoint[1]))
        net.run(0.2)
        self.assertIn("unsafe", players[1].lines[-1])

    def answer(self, net: GameNet, seconds: float, delay: float = 0.02) -> None:
        """Let time pass with a node that answers each checkpoint, and the end."""
        answered = {0}
        for _ in range(round(seconds / 0.002)):
            for told in net.told:
                if isinstance(told, Kept | RoomEnded) and told.number not in answered:
                    answered.add(told.number)
                    answer = KeptTaken("m1", told.number)
                    net.reactor.callLater(delay, net.server.received, answer)
            net.reactor.advance(0.002)

    def test_ends_before_the_answer(self) -> None:
        """
        A match that ends while the node has not answered yet ends for its players: when
        the last of them leaves, when an operator closes it, and at its time limit.
        """
        game = Teller()
        game.time_limit = 3.0
        for how in ("leave", "close", "time limit"):
            net = GameNet(games={"teller": game})
            players = net.begin()
            net.server.linked(net.told.append, is_lossy=True)
            self.answer(net, 0.2)
            players[0].say("last") if how != "leave" else players[0].leave()
            self.answer(net, 0.01)
            if how == "leave":
                players[1].leave()
            elif how == "close":
                net.server.received(CloseRoom("m1", "ended"))
            self.answer(net, 8.0)
            self.assertEqual(({}, 1, 1), (net.server.rooms, net.stopped, len(net.ends)))
            if how != "leave":
                self.assertIn("last", players[1].lines[-1])
                self.assertEqual(len(players[1].over), 1)

    def test_end_waits_for_the_answer(self) -> None:
        """
        Players are shown the last state and the end when the node has the end: nobody
        sees a match won that goes on at an earlier state because its machine died.
        """

        class Short(Ticking):
            """Its last tick and its end come in one turn."""

            time_limit = 1.0

        net = GameNet(games={"ticking": Short()})
        players = net.begin(game="ticking")
        net.server.linked(net.told.append, is_lossy=True)
        kept = 0
        while not net.ends:
            self.answer(net, 0.002, delay=0.0)
            for told in net.of(Kept):
                kept = max(kept, told.version)
        net.run(3.0)
        self.assertLessEqual(players[0].seen.version, kept)
        self.assertEqual((players[0].over, net.stopped), ([], 0))
        self.answer(net, 3.0)
        (end,), (over,) = net.ends, players[0].over
        self.assertEqual((over.reason, over.version), (end.reason, end.version))
        self.assertEqual((players[0].seen.version, net.stopped), (end.version, 1))

    def test_late_answer(self) -> None:
        """
        A match that ends just before its first checkpoint is answered ends, over a link
        that loses nothing, too.
        """
        net = GameNet()
        players = net.begin()
        net.server.received(CloseRoom("m1", "ended"))
        self.assertTrue(net.ends)
        net.server.received(KeptTaken("m1", 1))
        net.run(8.0)
        self.assertEqual((net.server.rooms, len(players[0].over)), ({}, 1))

    def test_unknown_to_the_node(self) -> None:
        """
        A node that comes back gave the match to another process meanwhile: this one
        closes its players' connections, and ends.
        """
        net = GameNet()
        players = net.begin()
        net.server.linked(net.told.append, is_lossy=True)
        self.answer(net, 0.2)
        net.server.unlinked()
        net.run(1.0)
        net.server.linked(net.told.append, is_lossy=True)
        net.server.received(Adopted(()))
        net.run(1.0)
        self.assertEqual((net.server.rooms, net.stopped), ({}, 1))
        self.assertEqual((players[0].over, len(players[0].lost)), ([], 1))

    def test_node_lost_at_the_end(self) -> None:
        """
        The end that a lost node may not have is reported to the next one, and shown
        then. If none comes, players are sent nothing: the match may go on elsewhere.
        """
        for comes in (True, False):
            net = GameNet(lease=10.0)
            players = net.begin()
            net.server.linked(net.told.append, is_lossy=True)
            self.answer(net, 0.2)
            net.server.received(CloseRoom("m1", "ended"))
            net.run(0.1)
            net.server.unlinked()
            net.run(3.0)
            self.assertEqual((players[0].over, net.stopped), ([], 0))
            if comes:
                (playing,) = net.server.ready(1).matches
                net.server.linked(net.told.append, is_lossy=True)
                net.server.received(Adopted((playing.match_id,)))
                self.answer(net, 3.0)
            else:
                net.run(8.0)
            self.assertEqual((len(players[0].over), net.stopped), (comes, 1))

    def test_comes_again_meanwhile(self) -> None:
        """
        A player connects again before the node has answered: the old connection's
        refusal does not acknowledge the input that may be lost, and the process that
        goes on gets it.
        """
        net = GameNet()
        first, _ = net.begin()
        net.server.linked(net.told.append, is_lossy=True)
        data, number = net.checkpoint
        first.say("unkept")
        net.run(0.5)
        resume, kept = first.resume, first.link_state
        GamePlayer(net, net.label("m1", 0), resume=resume, link_state=kept)
        net.run(1.0)
        self.assertEqual(first.rejections, ["seat_taken"])
        self.assertEqual(len(kept.actions), 1)
        other = GameNet(seed=1)
        other.reactor.rightNow = net.reactor.seconds()
        other.bind()
        other.open(game="teller", checkpoint=data, number=number)
        label = other.label("m1", 0)
        back = GamePlayer(other, label, resume=resume, link_state=kept)
        other.run(0.5)
        self.assertIn("unkept", back.lines[-1])

    def test_behind(self) -> None:
        """
        One that does not want it waits for nothing.
        """
        game = Teller()
        game.durability = "behind"
        net = GameNet(games={"teller": game})
        players = net.begin()
        net.server.linked(net.told.append, is_lossy=True)
        players[0].say("fast")
        net.run(0.2)
        self.assertIn("fast", players[1].lines[-1])

    def test_none(self) -> None:
        """
        A game that keeps nothing costs nothing.
        """
        game = Teller()
        game.durability = "none"
        net = GameNet(games={"teller": game})
        net.begin()
        self.assertEqual(net.of(Kept), [])


class HandOverTests(SynchronousTestCase):
    """A process is asked to hand its matches over."""

    def test_handed_over(self) -> None:
        """
        It sends its last checkpoint, closes its players' connections and ends, without
        ending the match; the next one has everything that they saw.
        """
        net = GameNet()
        players = net.begin()
        players[0].say("before")
        net.run(0.2)
        net.server.received(HandOver())
        net.run(0.2)
        self.assertEqual((net.stopped, net.ends), (1, []))
        for player in players:
            self.assertEqual(player.lost, ["closed"])
            self.assertEqual(player.over, [])
        self.assertEqual(net.reactor.sockets.get((HOST, PORT)), None)
        other = successor(net)
        back = [other.resumed(seat, players[seat].resume) for seat in range(2)]
        other.run(0.3)
        self.assertIn("before", " ".join(back[1].lines))

    def test_node_does_not_read(self) -> None:
        """
        It ends only when its last checkpoint has left, and shows nothing meanwhile.
        """
        net = GameNet()
        players = net.begin()
        behind = True
        net.server.linked(net.told.append, lambda: behind)
        seen = len(players[1].lines)
        players[0].say("unseen")
        net.server.received(HandOver())
        net.run(1.0)
        self.assertEqual(net.stopped, 0)
        self.assertEqual(len(players[1].lines), seen)
        behind = False
        net.run(0.2)
        self.assertEqual(net.stopped, 1)
