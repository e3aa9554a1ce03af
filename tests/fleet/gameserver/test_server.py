"""The game server, from its players' sockets to its node's link."""

from __future__ import annotations

from msgspec import msgpack
from twisted.trial.unittest import SynchronousTestCase

from tests.support.game_net import HOST, PORT, GameNet
from tests.support.games import Forfeiting, StandingIn, Teller
from vinom.base.model import Ticket
from vinom.base.reactor.figures import RTT_BOUNDS, cumulated
from vinom.fleet.control.messages import (
    AddTicket,
    Alive,
    BindFailed,
    Bound,
    CloseRoom,
    Heartbeat,
    MatchStarted,
    RoomOpened,
    RoundEnded,
    Stop,
    TicketAdded,
)
from vinom.fleet.gameserver.seats import ConnectionLimits
from vinom.net.dtls.bad_network import Conditioner, Conditions
from vinom.net.dtls.port import DatagramPort
from vinom.net.packets.player import ActionRefused, Joined, StateArrived
from vinom.net.packets.player import RoundEnded as RoundTold


class NodeTests(SynchronousTestCase):
    """Messages from and to the node."""

    def test_bind_and_open(self) -> None:
        """
        A port is announced when it is bound, a room when players may come.
        """
        net = GameNet()
        net.open()
        self.assertEqual([Bound(PORT), RoomOpened("m1")], net.told[:2])

    def test_port_is_read_once_a_room_is_open(self) -> None:
        """
        A player who knows the port already, because the match goes on here, is answered
        as soon as it does: nothing is read before that, and thrown away.
        """
        net = GameNet()
        done: list[object] = []
        self.patch(DatagramPort, "pause", lambda _: done.append("waits"))
        self.patch(
            DatagramPort, "resume", lambda _: done.append(tuple(net.server.rooms))
        )
        net.bind()
        self.assertEqual(done, ["waits"])
        net.open()
        self.assertEqual(done, ["waits", ("m1",)])

    def test_open_twice(self) -> None:
        """
        A match that is ordered twice continues, and no end is reported.
        """
        net = GameNet()
        net.begin()
        net.open()
        net.run(1.0)
        self.assertEqual([], net.ends)
        self.assertEqual(["m1"], list(net.server.rooms))

    def test_bind_failed(self) -> None:
        """
        A port that cannot be had is reported, and another one is taken.
        """
        net = GameNet()
        net.reactor.taken.add(PORT)
        net.bind()
        net.bind(PORT + 1)
        failed, bound = net.told
        assert isinstance(failed, BindFailed)
        self.assertEqual((PORT, Bound(PORT + 1)), (failed.port, bound))
        net.bind(PORT + 2)
        self.assertEqual(1, len(net.reactor.sockets))

    def test_heartbeat(self) -> None:
        """
        A heartbeat is answered with the same number and with figures.
        """
        net = GameNet()
        net.server.received(Heartbeat(1))
        net.begin()
        net.run(3.0)
        net.server.received(Heartbeat(2))
        first, second = net.of(Alive)
        self.assertEqual((1, 2), (first.number, second.number))
        self.assertEqual(2, second.figures["players"])
        self.assertEqual(2, second.figures["handshake_finished"])
        self.assertEqual(2, second.figures["joins_accepted"])
        self.assertAlmostEqual(0.01, second.figures["rtt_seconds"], 1)

    def test_last_figures(self) -> None:
        """
        What was counted since the last heartbeat reaches the node before the end.
        """
        net = GameNet()
        players = net.begin()
        net.server.received(Heartbeat(1))
        players[0].send_raw(b"nonsense")
        players[1].send_packet(b"nonsense")
        net.run(3.0)
        net.server.received(Stop())
        net.run(2.5)
        before, last = net.of(Alive)
        self.assertIs(net.told[-1], last)
        self.assertEqual((0, 1), (last.number, net.stopped))
        self.assertGreater(last.figures["datagrams_in"], before.figures["datagrams_in"])
        for code in ("bad_action", "bad_packet"):
            self.assertEqual(1, last.figures[f"errors_{code}"])
        self.assertEqual(0, last.figures["players"])

    def test_links_are_sampled(self) -> None:
        """
        Each heartbeat adds every player's round trip and loss to histograms.
        """
        net = GameNet()
        net.begin()
        net.run(3.0)
        for number in range(3):
            net.server.received(Heartbeat(number))
        buckets, total = cumulated(net.of(Alive)[-1].figures, "rtt_seconds", RTT_BOUNDS)
        self.assertEqual(6, buckets[-1][1])
        self.assertAlmostEqual(0.12, total, 2)
        self.assertEqual(0, dict(buckets)[0.005])

    def test_unknown_game(self) -> None:
        """
        A match that cannot be hosted is over at once, and so is the process.
        """
        net = GameNet()
        net.open(game="chess")
        self.assertEqual(["crashed"], [end.reason for end in net.ends])
        self.assertEqual(1, net.stopped)

    def test_seats_that_the_game_does_not_take(self) -> None:
        """
        A plan that the game refuses is over at once.
        """
        net = GameNet()
        net.open(seats=1)
        self.assertEqual(["crashed"], [end.reason for end in net.ends])

    def test_stop(self) -> None:
        """
        After a stop order it sends players the end, and stops.
        """
        net = GameNet()
        players = net.begin()
        net.server.received(Stop())
        net.run(2.5)
        self.assertEqual(1, net.stopped)
        self.assertEqual(["shutdown"], [end.reason for end in net.ends])
        for player in players:
            self.assertEqual(["shutdown"], [over.reason for over in player.over])
            self.assertEqual(["closed"], player.lost)

    def test_stop_without_a_room(self) -> None:
        """
        An idle process ends at once, and only once.
        """
        net = GameNet()
        net.server.received(Stop())
        self.successResultOf(net.server.stop())
        self.assertEqual(1, net.stopped)

    def test_kick(self) -> None:
        """
        A kicked player is sent the reason and cannot come back.
        """
        net = GameNet()
        players = net.begin(seats=3)
        resume = players[0].resume
        net.kick("m1", 0)
        net.kick("m1", 9)
        net.kick("nowhere", 0)
        net.run(0.5)
        self.assertEqual(["kicked"], players[0].rejections)
        self.assertIn((0, "left"), net.seat_changes)
        self.assertIn("0 left", players[1].lines[-1])
        again = net.resumed(0, resume)
        net.run(1.0)
        self.assertEqual(["wrong_seat"], again.rejections)

    def test_close_room(self) -> None:
        """
        A match that an operator ends is over for everybody, with that reason.
        """
        net = GameNet()
        players = net.begin()
        net.server.received(CloseRoom("m1", "ended"))
        net.server.received(CloseRoom("nowhere", "ended"))
        net.run(1.0)
        self.assertEqual(["ended"], [end.reason for end in net.ends])
        self.assertEqual("ended", players[0].over[0].reason)
        self.assertEqual(1, net.stopped)

    def test_several_rooms(self) -> None:
        """
        A denser process ends with the last of its rooms.
        """
        net = GameNet(rooms_limit=2)
        net.open("m1")
        net.server.received(CloseRoom("m1", "ended"))
        net.run(0.1)
        self.assertEqual(0, net.stopped)
        net.open("m2")
        net.open("m3")
        self.assertEqual(
            [("m1", "ended"), ("m3", "crashed")],
            [(end.match_id, end.reason) for end in net.ends],
        )
        net.server.received(CloseRoom("m2", "ended"))
        net.run(0.1)
        self.assertEqual(1, net.stopped)

    def test_new_ticket(self) -> None:
        """
        A player who lost its ticket comes back with a new one.
        """
        net = GameNet()
        net.open()
        ticket = Ticket("n" * 26, "m1", 1, net.reactor.seconds() + 60)
        net.server.received(AddTicket(ticket))
        net.server.received(
            AddTicket(Ticket("o" * 26, "m9", 1, net.reactor.seconds() + 60))
        )
        self.assertEqual([TicketAdded("n" * 26), TicketAdded("o" * 26)], net.told[-2:])


class PlayTests(SynchronousTestCase):
    """What players see."""

    def test_a_match(self) -> None:
        """
        Two players join, act, see each other's actions and receive the end.
        """
        net = GameNet()
        ann, bob = net.begin()
        joined = ann.of(Joined)[0]
        self.assertEqual("teller", joined.game)
        self.assertEqual({"once": "upon a time"}, msgpack.decode(joined.setup))
        self.assertEqual([MatchStarted("m1")], net.of(MatchStarted))
        self.assertEqual([(0, "joined"), (1, "joined")], sorted(net.seat_changes))
        self.assertEqual(1, ann.say("hi"))
        net.run(0.1)
        self.assertEqual(ann.lines, bob.lines)
        self.assertTrue(ann.lines[-1].endswith("0 hi"))
        self.assertEqual((2, 1, 0), (ann.seen.version, ann.seen.acked, bob.seen.acked))
        bob.say("end")
        net.run(0.2)
        outcome = {"round": 1, "places": [[0], [1]], "scores": []}
        self.assertEqual([RoundEnded("m1", outcome)], net.of(RoundEnded))
        self.assertEqual(outcome, ann.of(RoundTold)[0].outcome)
        net.run(4.5)
        (end,) = net.ends
        self.assertEqual(("finished", (0, 1)), (end.reason, end.present))
        for player in (ann, bob):
            (over,) = player.over
            self.assertEqual("finished", over.reason)
            self.assertEqual(
                (end.version, end.view_hash), (over.version, over.view_hash)
            )
            self.assertEqual(end.version, player.seen.version)
            self.assertEqual(["closed"], player.lost)
        self.assertEqual(1, net.stopped)
        self.assertEqual({}, net.server.rooms)
        for player in (ann, bob):
            player.close()
        net.run(0.01)
        self.assertEqual([], net.reactor.getDelayedCalls())
        self.assertEqual(end, net.recordings.matches["m1"].end)
        acts = [r for r in net.recordings.matches["m1"].recorded if r.kind == "act"]
        self.assertEqual([0, 1], [r.seat for r in acts])

    def test_events(self) -> None:
        """
        Events reach everybody, or only whom they are for.
        """
        net = GameNet()
        ann, bob = net.begin()
        ann.say("tell")
        net.run(0.2)
        self.assertEqual((["told", "psst"], ["told"]), (ann.kinds, bob.kinds))

    def test_refused_actions(self) -> None:
        """
        An action that the game rejects, or cannot read, is answered by number.
        """
        net = GameNet()
        ann, bob = net.begin()
        ann.say("no")
        ann.act({"type": "say", "word": 5})
        ann.send_raw(b"\xc1")
        ann.say("yes")
        net.run(0.2)
        refused = ann.of(ActionRefused)
        self.assertEqual(
            [(1, "rejected", "no"), (2, "bad_action", "word"), (3, "bad_action", "")],
            [(each.seq, each.code, each.reason) for each in refused],
        )
        self.assertTrue(bob.lines[-1].endswith("0 yes"))
        self.assertEqual([], bob.of(ActionRefused))

    def test_many_inputs_of_one_turn_make_one_state(self) -> None:
        """
        What arrives together is answered by one state.
        """
        net = GameNet()
        ann, bob = net.begin()
        before = len(bob.of(StateArrived))
        for _ in range(5):
            ann.say("hi")
            bob.say("ho")
        net.run(0.2)
        self.assertEqual(10, len(bob.lines))
        self.assertEqual(before + 1, len(bob.of(StateArrived)))
        self.assertEqual((5, 5), (ann.seen.acked, bob.seen.acked))

    def test_every_state(self) -> None:
        """
        In a game that asks for it, each action makes its own state, which names the
        actions that it answers.
        """

        class EachTeller(Teller):
            states = "every"

        net = GameNet(games={"teller": EachTeller()})
        ann, bob = net.begin()
        before = len(bob.of(StateArrived))
        for _ in range(5):
            ann.say("hi")
            bob.say("ho")
        ann.say("no")
        net.run(0.2)
        states = bob.of(StateArrived)[before:]
        told = [len(msgpack.decode(state.view)["lines"]) for state in states]
        self.assertEqual(list(range(told[0], told[0] + 10)), told)
        self.assertEqual((5, 5), (ann.seen.acked, bob.seen.acked))
        self.assertEqual(["no"], [each.reason for each in ann.of(ActionRefused)])

    def test_ticks(self) -> None:
        """
        In a game with ticks a state names the actions that its tick has taken.
        """
        net = GameNet()
        ann, _ = net.begin(game="ticking")
        number = ann.say("hi")
        net.run(0.25)
        for state in ann.of(StateArrived):
            said = any("hi" in line for line in msgpack.decode(state.view)["lines"])
            self.assertEqual(said, state.acked >= number)

    def test_too_few(self) -> None:
        """
        A match to which too few come is void.
        """
        net = GameNet()
        net.open()
        ann = net.player(0)
        net.run(11.0)
        (end,) = net.ends
        self.assertEqual(("void", (0,)), (end.reason, end.present))
        self.assertEqual("void", ann.over[0].reason)
        self.assertEqual(1, net.stopped)

    def test_patient(self) -> None:
        """
        Where players are given longer to come, a match waits longer.
        """
        net = GameNet(join_timeout=40.0)
        net.open()
        net.player(0)
        net.run(35.0)
        self.assertEqual([], net.ends)
        bob = net.player(1)
        net.run(1.0)
        self.assertEqual(1, len(bob.of(Joined)))
        self.assertEqual([MatchStarted("m1")], net.of(MatchStarted))

    def test_crash(self) -> None:
        """
        A game that fails ends its match; players receive the end, operators a report.
        """
        net = GameNet()
        ann, _ = net.begin()
        ann.say("boom")
        net.run(1.0)
        (end,) = net.ends
        self.assertEqual(("crashed", "/reports/m1"), (end.reason, end.report))
        self.assertIn("ZeroDivisionError", net.recordings.matches["m1"].report or "")
        self.assertEqual("crashed", ann.over[0].reason)

    def test_leaving(self) -> None:
        """
        A player who leaves is gone for good; with no player left the match is over.
        """
        net = GameNet()
        ann, bob = net.begin()
        ann.leave()
        net.run(0.2)
        self.assertIn((0, "left"), net.seat_changes)
        self.assertTrue(bob.lines[-1].endswith("0 left"))
        bob.leave()
        net.run(1.0)
        self.assertEqual(["abandoned"], [end.reason for end in net.ends])
        self.assertEqual(1, net.stopped)

    def test_absent_seat_is_given_up(self) -> None:
        """
        If the game gives up an absent player's seat, the node is informed.
        """
        net = GameNet(games={"teller": Forfeiting()})
        ann, *_ = net.begin(seats=3)
        ann.close()
        net.run(3.0)
        self.assertEqual(
            ["joined", "dropped", "left"],
            [state for seat, state in net.seat_changes if seat == 0],
        )

    def test_bot_for_an_absent_seat(self) -> None:
        """
        If a bot acts for an absent player, the others see it act; if it fails, that is
        logged, and play continues.
        """
        game = StandingIn()
        game.words = ("hi",)
        net = GameNet(games={"teller": game})
        ann, bob = net.begin()
        ann.close()
        net.run(2.0)
        self.assertTrue(any(line.endswith("0 hi") for line in bob.lines))
        game.words = ("?",)
        net.run(2.0)
        bob.say("on")
        net.run(0.2)
        self.assertTrue(bob.lines[-1].endswith("1 on"))

    def test_silent_player_must_join_again(self) -> None:
        """
        A player who acknowledges nothing is disconnected before too much waits, and can
        come back.
        """
        net = GameNet()
        ann, bob = net.begin()
        ann.is_silent = True
        for _ in range(600):
            bob.say("tell")
            net.run(0.02)
        self.assertEqual(["busy"], ann.rejections)
        again = net.resumed(0, ann.resume)
        net.run(0.5)
        self.assertEqual(bob.lines, again.lines)

    def test_bad_packet(self) -> None:
        """
        A player whose packets break the layout is sent what is wrong.
        """
        net = GameNet()
        ann, bob = net.begin()
        ann.send_packet(b"\x02junk")
        net.run(0.5)
        self.assertEqual(["bad_packet"], ann.rejections)
        bob.say("I go on")
        net.run(0.2)
        self.assertIn("I go on", bob.lines[-1])
        net.run(4.0)
        self.assertIn((0, "dropped"), net.seat_changes)

    def test_a_flood_is_slowed_down(self) -> None:
        """
        Above the limit a player's actions come later, none is lost or doubled.
        """
        net = GameNet(limits=ConnectionLimits(50.0, 50.0, 5.0, 10.0))
        ann, bob = net.begin()
        for number in range(20):
            ann.say(f"w{number}")
        net.run(0.2)
        self.assertLess(len(bob.lines), 15)
        net.run(8.0)
        self.assertEqual(
            [f"w{n}" for n in range(20)], [line.split()[-1] for line in bob.lines]
        )

    def test_view_too_long(self) -> None:
        """
        A view that cannot be sent ends the match as a fault of its game.
        """
        net = GameNet()
        ann, bob = net.begin()
        for _ in range(200):
            ann.say("x" * 450)
            net.run(0.02)
        net.run(1.0)
        self.assertEqual(["crashed"], [end.reason for end in net.ends])
        self.assertEqual("crashed", bob.over[0].reason)


class DensityTests(SynchronousTestCase):
    """Several rooms in one process."""

    def test_rooms_do_not_touch_each_other(self) -> None:
        """
        A game that fails ends its own match; the other continues.
        """
        net = GameNet(rooms_limit=2)
        net.open("m1")
        net.open("m2")
        ours = [net.player(seat, "m1") for seat in range(2)]
        theirs = [net.player(seat, "m2") for seat in range(2)]
        net.run(0.5)
        ours[0].say("boom")
        theirs[0].say("hi")
        net.run(0.5)
        self.assertEqual(
            [("m1", "crashed")], [(e.match_id, e.reason) for e in net.ends]
        )
        self.assertTrue(theirs[1].lines[-1].endswith("0 hi"))
        self.assertEqual(0, net.stopped)


class SetupTests(SynchronousTestCase):
    """The part of the view that is sent once."""

    def test_too_long(self) -> None:
        """
        A setup that cannot be sent ends the match as a fault of its game.
        """

        class Endless(Teller):
            def setup(self, s: object) -> dict[str, str]:
                return {"x": "y" * 80_000}

        net = GameNet(games={"teller": Endless()})
        ann, _ = net.begin()
        net.run(1.0)
        self.assertEqual(["internal"], ann.rejections)
        self.assertEqual(["crashed"], [end.reason for end in net.ends])


class SeatTests(SynchronousTestCase):
    """Who gets a seat, and who takes it back."""

    def test_return_with_resume_token(self) -> None:
        """
        A player whose line broke takes its seat back and sees the state.
        """
        net = GameNet()
        ann, bob = net.begin()
        ann.say("one")
        net.run(0.2)
        ann.close()
        net.run(0.2)
        self.assertTrue(bob.lines[-1].endswith("0 dropped"))
        again = net.resumed(0, ann.resume)
        net.run(0.5)
        self.assertTrue(again.lines[-1].endswith("0 returned"))
        self.assertEqual(
            ["joined", "dropped", "returned"],
            [state for seat, state in net.seat_changes if seat == 0],
        )
        # Numbers continue where they were: an action is never taken twice.
        self.assertEqual(2, again.say("two"))
        net.run(0.2)
        self.assertTrue(bob.lines[-1].endswith("0 two"))

    def test_newer_connection_takes_the_seat(self) -> None:
        """
        The newer of two connections has the seat; the game notices nothing.
        """
        net = GameNet()
        ann, bob = net.begin()
        newer = net.player(0)
        net.run(0.5)
        self.assertEqual(["seat_taken"], ann.rejections)
        newer.say("me")
        net.run(0.2)
        self.assertEqual(1, len(bob.lines))
        net.run(5.0)
        self.assertEqual(2, net.associations)

    def test_used_token(self) -> None:
        """
        A token works once, when its owner has shown that the answer arrived.
        """
        net = GameNet()
        net.open()
        token = net.token(0)
        first = net.player(0, token=token)
        net.run(0.5)
        self.assertEqual(1, len(first.of(Joined)))
        second = net.player(0, token=token)
        net.run(0.5)
        self.assertEqual(["token_used"], second.rejections)
        self.assertEqual([], first.rejections)

    def test_lost_answer_locks_nobody_out(self) -> None:
        """
        Until an answer has arrived the same token may be shown again.
        """
        net = GameNet()
        net.open()
        token = net.token(0)
        deaf = net.player(0, token=token)
        net.reactor.losing = lambda sender, datagram: (
            sender[1] == PORT and datagram[0] == 23
        )
        net.run(0.2)
        self.assertEqual([], deaf.events)
        net.reactor.losing = lambda sender, datagram: False
        second = net.player(0, token=token)
        net.run(0.5)
        self.assertEqual(1, len(second.of(Joined)))

    def test_used_resume_token(self) -> None:
        """
        A resume token works once; the one that came with it works next.
        """
        net = GameNet()
        ann, _ = net.begin()
        second = net.resumed(0, ann.resume)
        net.run(0.5)
        third = net.resumed(0, ann.resume)
        net.run(0.5)
        self.assertEqual(["bad_token"], third.rejections)
        fourth = net.resumed(0, second.resume)
        net.run(0.5)
        self.assertEqual(1, len(fourth.of(Joined)))

    def test_wrong_proofs(self) -> None:
        """
        A proof that is not for this seat, match, player or time gets no seat.
        """
        net = GameNet(rooms_limit=2)
        net.open("m1")
        net.open("m2")
        for token, code in (
            (net.token(1), "wrong_seat"),
            (net.token(0, "m2"), "wrong_match"),
            (net.token(0, "m9"), "wrong_match"),
            (net.token(0, player_id="p1"), "wrong_seat"),
            (net.token(9, player_id="p1"), "wrong_seat"),
            (net.token(0, lifetime=-60.0), "token_expired"),
            ("a.b.c", "bad_token"),
        ):
            player = net.player(0, token=token)
            net.run(0.3)
            self.assertEqual([code], player.rejections)
        stranger = net.resumed(0, b"?" * 16)
        net.run(0.3)
        self.assertEqual(["bad_token"], stranger.rejections)
        self.assertEqual([], net.seat_changes)
        net.run(5.0)
        self.assertEqual(0, net.unseated)

    def test_resume_of_another_seat(self) -> None:
        """
        A resume token opens its own seat only.
        """
        net = GameNet()
        ann, _ = net.begin()
        thief = net.resumed(1, ann.resume)
        net.run(0.3)
        self.assertEqual(["wrong_seat"], thief.rejections)
        net.resumed(0, ann.resume)
        net.run(0.3)
        self.assertEqual(["seat_taken"], ann.rejections)

    def test_silent_connection(self) -> None:
        """
        A connection that never asks for a seat is not kept.
        """
        net = GameNet()
        net.open()
        silent = net.player(0)
        silent.is_silent = True
        net.run(9.0)
        self.assertEqual(0, net.unseated)
        self.assertEqual(0, net.associations)


class BadNetworkTests(SynchronousTestCase):
    """The whole path over a network that loses, doubles and reorders."""

    def play(self, net: GameNet) -> None:
        players = net.begin()
        net.run(8.0)
        for number in range(15):
            for seat, player in enumerate(players):
                player.say("tell" if number % 5 == 0 else f"{seat}w{number}")
            net.run(0.2)
        net.run(5.0)
        players[0].say("end")
        net.run(14.0)
        (end,) = net.ends
        self.assertEqual("finished", end.reason)
        for seat, player in enumerate(players):
            self.assertEqual([end.version], [o.version for o in player.over])
            self.assertEqual(end.version, player.seen.version)
            said = [line.split()[-1] for line in player.lines if f" {seat} " in line]
            self.assertEqual(15 + (seat == 0), len(said))
            self.assertEqual(6, player.kinds.count("told"))
            self.assertEqual(3, player.kinds.count("psst"))
        self.assertEqual(1, net.stopped)
        self.assertFalse(net.is_left)

    def test_loss_copies_and_disorder(self) -> None:
        """
        With 15 % of all datagrams lost, copies and disorder a match is the same
        for everybody, and nothing is left behind.
        """
        for seed in range(3):
            net = GameNet(seed)
            bad = Conditions(loss=0.15, duplicate=0.1, delay=0.05, jitter=0.03)
            net.reactor.worn = Conditioner(net.reactor, bad, seed)
            self.play(net)

    def test_the_end_gets_through(self) -> None:
        """
        An end that is lost for most of the farewell still arrives.
        """
        net = GameNet()
        players = net.begin()
        net.reactor.losing = lambda sender, datagram: sender == (HOST, PORT)
        net.server.received(CloseRoom("m1", "ended"))
        net.run(1.7)
        net.reactor.losing = lambda sender, datagram: False
        net.run(0.25)
        for player in players:
            self.assertEqual(["ended"], [over.reason for over in player.over])
