"""The relay itself: places, keys, slow links, and ends."""

from __future__ import annotations

from msgspec import msgpack, structs
from twisted.trial.unittest import SynchronousTestCase

from tests.support.certificates import new_authority, signing_key
from tests.support.game_net import HOST, PORT, REALM
from tests.support.games import Cards, Teller, Ticking
from tests.support.relay_net import RelayNet
from vinom.base.model import Issued, MatchEnd, Placement, Ticket
from vinom.base.tokens import TokenSigner
from vinom.errors import NoCapacity
from vinom.fleet.control.messages import (
    CloseRoom,
    RelayAction,
    RelayAgain,
    RelayFailed,
    RelayRefusal,
    RelaySeat,
    RelayState,
    RelayTaken,
    SeatChanged,
)
from vinom.net.dtls.bad_network import Conditioner, Conditions
from vinom.net.packets.player import ActionRefused, Joined, Rejected, StateArrived


class PlaceTests(SynchronousTestCase):
    """Where players are sent."""

    def test_place(self) -> None:
        """
        Players of every match are sent to the relay's port and name, and only when its
        game server has sent what they need to begin with: nobody who comes back to the
        match is let in before.
        """
        net = RelayNet()
        net.fleet.delay = 1.0
        net.open()
        self.assertEqual({}, net.places)
        net.run(3.5)
        self.assertEqual({}, net.places)
        ticket = Ticket(net.label("m9", 0), "m1", 0, net.reactor.seconds() + 60)
        self.failureResultOf(net.relay.add_ticket(ticket), NoCapacity)
        net.run(1.0)
        anchor = net.issuer.anchor.decode()
        self.assertEqual(
            Placement(net.relay.label, HOST, PORT, anchor), net.places["m1"]
        )

    def test_dies_before(self) -> None:
        """
        A game server that dies before it sent what players need is no place for them,
        and leaves nothing here.
        """
        net = RelayNet()
        net.bind()
        net.fleet.delay = 1.0
        plan = net.plan()
        watch = net.watch("m1")
        placed = net.relay.place(plan, (), watch)
        net.run(2.5)
        net.fleet.end(MatchEnd("m1", "lost"))
        net.run(3.0)
        self.failureResultOf(placed, NoCapacity)
        self.assertEqual(["lost"], [end.reason for end in watch.ends])
        self.assertEqual({}, net.relay.rooms)

    def test_withdrawn(self) -> None:
        """
        A match that is withdrawn in the last moment is closed where it is played, and
        nobody is told any more about it.
        """
        net = RelayNet()
        net.bind()
        net.fleet.delay = 1.0
        watch = net.watch("m1")
        placed = net.relay.place(net.plan(), (), watch)
        placed.addErrback(lambda failure: None)
        net.run(2.5)
        placed.cancel()
        net.run(6.0)
        self.assertEqual(CloseRoom("m1", "ended"), net.fleet.sent[-1])
        self.assertEqual([], watch.ends)
        self.assertEqual({}, net.relay.rooms)

    def test_new_ticket(self) -> None:
        """
        A player who lost its ticket comes back with a new one; there is none for a
        match that is over.
        """
        net = RelayNet()
        ann, _ = net.begin()
        expires_at = net.reactor.seconds() + 60
        ticket = Ticket(net.label("m9", 0), "m1", 0, expires_at)
        self.successResultOf(net.relay.add_ticket(ticket))
        again = net.resumed(0, ann.resume, "m9")
        net.run(0.5)
        self.assertEqual(1, len(again.of(Joined)))
        gone = net.relay.add_ticket(Ticket("o" * 26, "m2", 0, expires_at))
        self.failureResultOf(gone, NoCapacity)

    def test_stop(self) -> None:
        """
        When the node stops, players are sent the end before the port closes.
        """
        net = RelayNet()
        net.relay.startService()
        ann, bob = net.begin()
        stopped = net.relay.stopService()
        net.run(0.5)
        self.assertNoResult(stopped)
        net.server.received(CloseRoom("m1", "shutdown"))
        net.run(1.0)
        self.successResultOf(stopped)
        self.assertEqual(["shutdown"] * 2, [p.over[0].reason for p in (ann, bob)])
        self.assertNotIn((HOST, PORT), net.reactor.sockets)


class KeyTests(SynchronousTestCase):
    """Keys that change."""

    def test_token_keys(self) -> None:
        """
        After a rotation the old key's tokens are refused, and seated players stay.
        """
        net = RelayNet()
        net.open()
        old = net.token(1)
        ann = net.player(0)
        net.run(0.5)
        net.issuer.keys = {"k2": signing_key("k2")[1]}
        net.relay.share_token_keys()
        late = net.player(1, token=old)
        net.run(0.5)
        self.assertEqual(["bad_token"], [each.code for each in late.of(Rejected)])
        net.signer = TokenSigner("k2", signing_key("k2")[0])
        bob = net.player(1)
        net.run(0.5)
        self.assertEqual(1, len(bob.of(Joined)))
        self.assertEqual([], ann.rejections)

    def test_authority(self) -> None:
        """
        When another authority signs, players of a match that runs still reach it with
        the authority that they were sent; the next match is sent the new one.
        """
        net = RelayNet(rooms_limit=2)
        ann, _ = net.begin()
        other = new_authority()

        def issue(server: str) -> Issued:
            made = other.issue(f"*.{server}.{REALM}")
            return Issued(made.certificate, made.key)

        net.issuer.issue, net.issuer.anchor = issue, other.anchor  # type: ignore[method-assign]
        net.relay.renew_certificate()
        again = net.resumed(0, ann.resume)
        net.run(0.5)
        self.assertEqual(1, len(again.of(Joined)))
        net.open("m2")
        self.assertEqual(other.anchor.decode(), net.places["m2"].certificate)
        stranger = net.player(0, "m2")
        net.run(1.0)
        # It trusts the old one only.
        self.assertEqual([], stranger.of(Joined))
        self.assertEqual(["certificate"], stranger.lost)

    def test_cookies(self) -> None:
        """
        The relay's cookie keys are listed, and rotated without a client that hangs.
        """
        net = RelayNet()
        net.open()
        ann = net.player(0)
        for _ in range(3):
            net.run(0.01)
            net.relay.rotate_cookies()
        net.run(0.5)
        self.assertEqual(1, len(ann.of(Joined)))
        self.assertEqual([0, 1, 2, 3], [key.number for key in net.relay.cookie_keys()])


class PlayTests(SynchronousTestCase):
    """Playing over a slow link, and over a bad network."""

    def test_slow_link(self) -> None:
        """
        Whatever the link to the game server costs, each action counts once and in its
        order, though a player comes back while its actions are on their way.
        """
        net = RelayNet()
        ann, bob = net.begin()
        net.fleet.delay = 0.2
        for number in range(5):
            ann.say(f"a{number}")
        net.run(0.05)
        again = net.resumed(0, ann.resume)
        net.run(1.0)
        self.assertEqual(6, again.say("a5"))
        net.run(1.0)
        said = [line.split()[-1] for line in bob.lines if " 0 a" in line]
        self.assertEqual([f"a{number}" for number in range(6)], said)
        self.assertEqual(6, again.seen.acked)
        self.assertEqual(again.lines, bob.lines)

    def test_bad_network_and_slow_link(self) -> None:
        """
        With 30 % of the datagrams lost, copies, disorder and a slow link, each word
        is said once, in its order, and everybody sees the same end.
        """
        for seed in range(3):
            net = RelayNet(seed)
            bad = Conditions(loss=0.3, duplicate=0.2, delay=0.04, jitter=0.03)
            net.reactor.worn = Conditioner(net.reactor, bad, seed)
            net.fleet.delay = 0.03
            players = net.begin()
            net.run(10.0)
            for number in range(10):
                for seat, player in enumerate(players):
                    player.say("no" if number == 5 else f"{seat}w{number}")
                net.run(0.2)
            net.run(6.0)
            players[0].say("end")
            net.run(14.0)
            (end,) = net.ends
            for seat, player in enumerate(players):
                said = [
                    line.split()[-1] for line in player.lines if f" {seat} " in line
                ]
                words = [f"{seat}w{number}" for number in range(10) if number != 5]
                self.assertEqual(words, [word for word in said if word != "end"])
                self.assertEqual([6], [no.seq for no in player.of(ActionRefused)])
                over = [(o.version, o.view_hash) for o in player.over]
                self.assertEqual([(end.version, end.view_hash)], over)
                self.assertEqual(end.version, player.seen.version)
            self.assertEqual({}, net.relay.rooms)

    def test_refused_uses_up_its_number(self) -> None:
        """
        A player who comes back after a refusal counts on behind it.
        """
        net = RelayNet()
        ann, _ = net.begin()
        self.assertEqual(1, ann.say("no"))
        net.run(0.3)
        self.assertEqual([1], [no.seq for no in ann.of(ActionRefused)])
        again = net.resumed(0, ann.resume)
        net.run(0.5)
        self.assertEqual(2, again.say("yes"))
        net.run(0.3)
        self.assertEqual(2, again.seen.acked)

    def test_own_views(self) -> None:
        """
        A player sees its own view from the first state on, and after it came back too;
        nobody is shown another seat's.
        """
        net = RelayNet(games={"cards": Cards()})
        players = net.begin(game="cards")
        net.fleet.delay = 0.1
        players.append(net.resumed(0, players[0].resume))
        net.run(1.0)
        for seat, player in ((0, players[0]), (1, players[1]), (0, players[2])):
            states = player.of(StateArrived)
            self.assertTrue(states)
            for state in states:
                cards = msgpack.decode(state.view)["cards"]
                known = [at for at, card in enumerate(cards) if card is not None]
                self.assertEqual([seat], known)

    def test_cannot_be_relayed(self) -> None:
        """
        A match that its game server cannot show ends for everybody, as crashed.
        """
        net = RelayNet()
        ann, bob = net.begin()
        net.fleet.tell(RelayFailed("m1", "too long"))
        net.run(1.0)
        self.assertEqual(["crashed"] * 2, [p.over[0].reason for p in (ann, bob)])
        self.flushLoggedErrors()

    def test_process_dies(self) -> None:
        """
        Players of a game server that died are sent that their match is lost.
        """
        net = RelayNet()
        ann, bob = net.begin()
        net.fleet.end(MatchEnd("m1", "lost"))
        net.run(1.0)
        self.assertEqual(["lost"] * 2, [p.over[0].reason for p in (ann, bob)])
        net.run(3.0)
        self.assertEqual({}, net.relay.rooms)

    def test_gone_without_a_word(self) -> None:
        """
        The game server of a player whose connection is lost is told, and told again
        when the player is back.
        """
        net = RelayNet()
        ann, _ = net.begin()
        ann.close()
        net.run(0.5)
        again = net.resumed(0, ann.resume)
        net.run(0.5)
        sent = [m for m in net.fleet.sent if isinstance(m, RelaySeat) and m.seat == 0]
        self.assertEqual(["join", "drop", "join"], [m.how for m in sent])
        self.assertEqual([1, 1, 2], [m.epoch for m in sent])
        self.assertEqual(
            [(0, "dropped"), (0, "returned")], net.watches["m1"].states[2:]
        )
        self.assertEqual(1, len(again.of(Joined)))

    def test_ticks(self) -> None:
        """
        A game with ticks sends its states all the time, and its inputs arrive.
        """
        net = RelayNet(games={"ticking": Ticking(), "teller": Teller()})
        ann, bob = net.begin(game="ticking")
        before = bob.seen.version
        ann.say("tock")
        net.run(1.0)
        self.assertTrue(bob.seen.version >= before + 10)
        self.assertIn("tock", " ".join(bob.lines))


class FigureTests(SynchronousTestCase):
    """What operators see."""

    def test_figures(self) -> None:
        """
        Players, handshakes, joins and links of the relay are counted like those of
        game servers; rooms are not counted twice.
        """
        net = RelayNet()
        net.relay._loop.start(1.0)
        net.begin()
        net.run(3.0)
        figures = net.relay.measure()
        net.relay._loop.stop()
        self.assertEqual((2, 0), (figures["players"], figures["rooms"]))
        self.assertEqual(2, figures["handshake_finished"])
        self.assertEqual(2, figures["joins_accepted"])
        self.assertAlmostEqual(0.01, figures["rtt_seconds"], 1)


class GoingOnTests(SynchronousTestCase):
    """A match that goes on at another game server, while its players stay here."""

    def test_players_join_there(self) -> None:
        """
        When another game server sends the setup, all who are here join it, with what no
        state has answered; who is away does not, and what was refused is over.
        """
        net = RelayNet()
        ann, _, eve = net.begin(seats=3)
        ann.say("one")
        eve.close()
        net.run(0.3)
        net.fleet.delay = 0.5
        ann.say("two")
        ann.say("three")
        net.run(0.1)
        net.fleet.tell(RelayRefusal("m1", 0, 2, "rejected", "no", "not now"))
        net.fleet.sent.clear()
        net.fleet.tell(RelayAgain("m1"))
        sent = list(net.fleet.sent)
        self.assertEqual(
            [
                RelaySeat("m1", 0, "again", 1, 1),
                RelayAction(
                    "m1", 0, 3, msgpack.encode({"type": "say", "word": "three"})
                ),
                RelaySeat("m1", 1, "again", 1, 0),
            ],
            sent,
        )

    def test_nothing_twice(self) -> None:
        """
        A game server that went on with a match takes an action that its state holds
        no second time, and the ones behind it once.
        """
        net = RelayNet()
        ann, bob = net.begin()
        ann.say("one")
        ann.say("two")
        net.run(0.3)
        net.fleet.send(RelaySeat("m1", 0, "again", 2, 1))
        for number, word in ((1, "one"), (2, "two"), (3, "three"), (3, "three")):
            data = msgpack.encode({"type": "say", "word": word})
            net.fleet.send(RelayAction("m1", 0, number, data))
        net.run(0.3)
        said = [line.split()[-1] for line in bob.lines if " 0 " in line]
        self.assertEqual(["one", "two", "three"], [w for w in said if w != "back"])


class FaultTests(SynchronousTestCase):
    """Game servers that were taken over, or are simply wrong."""

    def test_impossible_states(self) -> None:
        """
        A state that cannot be one ends its match, and no other one notices.
        """
        good = RelayState("m1", 9, "playing", 1.0, {}, (b"\x80",), {-1: 0, 0: 0, 1: 0})
        for wrong in (
            {"version": -1},
            {"version": 1},
            {"version": 1 << 40},
            {"time": float("nan")},
            {"time": -1.0},
            {"time": float("inf")},
            {"shown": {-1: 0, 0: 1}},
            {"shown": {-1: 0, 0: -5}},
            {"shown": {0: 0}},
        ):
            net = RelayNet(rooms_limit=2)
            ann, bob = net.begin()
            net.open("m2")
            others = [net.player(seat, "m2") for seat in (0, 1)]
            net.run(0.5)
            bob.say("up")
            bob.say("and up")
            net.run(0.2)
            net.fleet.tell(structs.replace(good, **wrong))
            net.run(1.0)
            self.assertEqual(["crashed"], [over.reason for over in ann.over], wrong)
            others[0].say("still here")
            net.run(0.3)
            self.assertIn("still here", others[1].lines[-1])

    def test_odd_reports(self) -> None:
        """
        Reports about seats and actions that do not exist change nothing.
        """
        net = RelayNet()
        ann, bob = net.begin()
        for seat in (-1, 2, 99):
            net.fleet.tell(RelayRefusal("m1", seat, 1, "rejected", "", ""))
            net.fleet.tell(RelayState("m1", 1, "playing", 0.1, {seat: 5}))
            net.fleet.report(SeatChanged("m1", seat, "left"))
        net.fleet.tell(RelayRefusal("m1", 0, 77, "no_such_code", "", ""))
        net.fleet.tell(RelayTaken("m1", 0, 1))
        net.run(0.5)
        ann.say("still here")
        net.run(0.3)
        self.assertIn("still here", bob.lines[-1])
        self.assertEqual([], ann.over)

    def test_long_views(self) -> None:
        """
        A view that no player can be sent ends its match as crashed.
        """
        net = RelayNet()
        ann, _ = net.begin()
        views, shown = (bytes(900_000),), {-1: 0, 0: 0, 1: 0}
        net.fleet.tell(RelayState("m1", 50, "playing", 1.0, {}, views, shown))
        net.run(1.0)
        self.assertEqual(["crashed"], [over.reason for over in ann.over])
