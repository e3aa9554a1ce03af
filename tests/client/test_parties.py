"""A player's party, against the real lobby in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.support.games import Teller
from tests.support.lobbies import Duel, LobbyWorld, Party
from tests.support.lobby_lines import LobbyEndpoint
from tests.support.whole import WholeWorld
from vinom.base.messages.catalogue import PROTOCOL
from vinom.base.messages.lobby import Hello, MatchFound
from vinom.base.messages.parties import PartyInvite
from vinom.base.model import MatchEnd
from vinom.client.line import LobbyRefusal
from vinom.client.lobby import LobbyClient, Offer, RoomOffered, SharedLine
from vinom.client.match import Match
from vinom.client.parties import LiveParty, PlayerParties
from vinom.errors import Code, Refused
from vinom.fleet.control.messages import RoomEnded
from vinom.lobby.matchmaking.queues import read_tables


class Seat:
    """Stands for a match whose seat is taken at once."""

    def __init__(self, found: MatchFound) -> None:
        self.match_id = found.match_id
        self.ended: Deferred[None] = Deferred()


class PartiesCase(SynchronousTestCase):
    """Players with parties."""

    def setUp(self) -> None:
        games = {"duel": Duel(), "party": Party()}
        self.world = LobbyWorld(games=games, accept_seconds=10.0)
        self.endpoint = LobbyEndpoint(self.world)
        self.offers: list[Offer] = []

    def player(self, name: str) -> PlayerParties:
        lobby = LobbyClient(self.world.clock, self.endpoint, Hello(PROTOCOL, name))

        def begin(found: MatchFound) -> Deferred[Any]:
            taken: Deferred[Any] = Deferred()
            taken.callback(Seat(found))
            return taken

        line = SharedLine(self.world.clock, lobby, lambda: 0.0)
        return PlayerParties(line, begin)

    def pass_time(self, seconds: float = 0.0) -> None:
        self.world.clock.pump([0.0] * 8 + [0.05] * round(seconds / 0.05))

    def await_(self, waiting: Deferred[Any], seconds: float = 0.0) -> Any:
        self.pass_time(seconds)
        return self.successResultOf(waiting)

    def pair(self) -> tuple[LiveParty, LiveParty]:
        self.ann, self.bob = self.player("ann"), self.player("bob")
        first = self.await_(self.ann.create("duel"))
        second = self.await_(self.bob.join(first.party_id, token=first.token))
        self.pass_time()
        return first, second


class PlayerPartiesTests(PartiesCase):
    """Coming together, and playing."""

    def test_come_together(self) -> None:
        """
        A friend joins with the token, and both see who is in.
        """
        first, second = self.pair()
        for party in (first, second):
            self.assertEqual([one.name for one in party.members], ["ann", "bob"])
        self.assertTrue(first.is_host)
        self.assertFalse(second.is_host)
        seen: list[str] = []
        first.on_change(lambda party: seen.append(str(party.members[1].ready)))
        self.await_(second.ready())
        self.assertEqual(seen, ["True"])

    def test_wrong_token(self) -> None:
        """
        A wrong token is refused with the lobby's code.
        """
        first, _ = self.pair()
        joining = self.player("eve").join(first.party_id, token="guess")
        self.pass_time()
        refusal = self.failureResultOf(joining, LobbyRefusal).value
        self.assertEqual(refusal.code, "no_such_party")

    def test_play_together(self) -> None:
        """
        The host queues, both accept by themselves, and both have the match.
        """
        first, second = self.pair()
        for_ann, for_bob = first.queue("duel"), second.next_match()
        self.pass_time()
        match = self.successResultOf(for_ann)
        self.assertEqual(self.successResultOf(for_bob).match_id, match.match_id)
        self.assertEqual(second.state, "in_game")
        self.world.fleet.end(0, "finished")
        self.pass_time()
        self.assertEqual((first.state, second.state), ("idle", "idle"))
        again = first.queue("duel")
        self.pass_time()
        self.assertNotEqual(self.successResultOf(again).match_id, match.match_id)

    def test_running_room(self) -> None:
        """
        A party that gets the free seats of a running room is idle again, and all of its
        members learn which room it is.
        """

        class Running:
            async def seats(self, game: str, options: bytes, player_ids: Any) -> str:
                return "r1" if len(player_ids) == 2 else ""

        class Open(Party):
            late_join = True

        tables = {"fill": {"game": "party", "backfill": True}}
        self.world = LobbyWorld(
            games={"party": Open(), "duel": Duel()}, tables=read_tables(tables)
        )
        self.world.matchmaker.rounds.running_rooms = Running()
        self.endpoint = LobbyEndpoint(self.world)
        first, second = self.pair()
        for_ann, for_bob = first.queue("party", queue="fill"), second.next_match()
        self.pass_time()
        for one in (for_ann, for_bob):
            offered = self.failureResultOf(one, RoomOffered).value
            self.assertEqual(offered.room_id, "r1")
        self.assertEqual((first.state, second.state), ("idle", "idle"))

    def test_decline(self) -> None:
        """
        A member who wants to decides; a no ends the wait of all.
        """
        first, _ = self.pair()
        self.bob.on_offer(self.offers.append)
        for_ann = first.queue("duel")
        self.pass_time()
        self.assertNoResult(for_ann)
        (found,) = self.offers
        self.assertEqual((found.game, found.seconds), ("duel", 10.0))
        self.assertEqual([who.name for who in found.players], ["ann", "bob"])
        found.decline()
        self.pass_time()
        refusal = self.failureResultOf(for_ann, LobbyRefusal).value
        self.assertEqual(refusal.code, "not_queued")
        self.assertEqual(first.state, "idle")

    def test_refused_queue(self) -> None:
        """
        A party that is refused a game is sent why.
        """
        first, second = self.pair()
        for_bob = second.queue("duel")
        self.pass_time()
        refusal = self.failureResultOf(for_bob, LobbyRefusal).value
        self.assertEqual(refusal.code, "not_host")
        waiting = first.queue("chess")
        self.pass_time()
        refusal = self.failureResultOf(waiting, LobbyRefusal).value
        self.assertEqual(refusal.code, "unknown_game")

    def test_cancel(self) -> None:
        """
        A host who gives up waiting takes the party out of the queue.
        """
        first, _ = self.pair()
        waiting = first.queue("party")
        self.bob.on_offer(self.offers.append)
        self.pass_time()
        waiting.cancel()
        self.failureResultOf(waiting)
        self.pass_time()
        self.assertEqual(first.state, "idle")

    def test_lost_line(self) -> None:
        """
        A member whose line breaks comes back by itself, to the same party.
        """
        first, second = self.pair()
        self.endpoint.lines[-1].end()
        self.pass_time(1.0)
        self.assertFalse(second.is_over)
        self.assertEqual([one.connected for one in first.members], [True, True])
        self.await_(second.ready())
        self.assertTrue(first.members[1].ready)

    def test_gone_meanwhile(self) -> None:
        """
        A member who comes back when the party is gone learns it.
        """
        first, second = self.pair()
        self.endpoint.is_up = False
        self.endpoint.lines[-1].end()
        self.pass_time()
        self.await_(first.kick(self.bob.player_id))
        self.endpoint.is_up = True
        self.pass_time(2.0)
        self.assertEqual("lost", self.successResultOf(second.closed))
        self.assertFalse(first.is_over)

    def test_forgotten(self) -> None:
        """
        The store loses the party: both members are sent that it is over.
        """
        first, second = self.pair()
        self.world.lobby.state.parties.clear()
        self.world.lobby.state.party_of.clear()
        self.world.requests.look_again()
        self.pass_time()
        for party in (first, second):
            self.assertEqual("lost", self.successResultOf(party.closed))

    def test_refused_for_good(self) -> None:
        """
        A member whose lobby refuses it, for a reason that cannot pass, is out of its
        party, stops waiting for a match, and does not ask for ever.
        """
        _, second = self.pair()
        waiting = second.next_match()

        async def greet(*_: Any) -> Any:
            raise Refused(Code.UNAUTHORIZED, "this game is closed")

        self.patch(self.world.requests, "greet", greet)
        self.endpoint.lines[-1].end()
        self.pass_time(1.0)
        self.assertEqual("unauthorized", self.successResultOf(second.closed))
        refusal = self.failureResultOf(waiting, LobbyRefusal).value
        self.assertEqual("unauthorized", refusal.code)
        lines = len(self.endpoint.lines)
        self.pass_time(60.0)
        self.assertEqual(lines, len(self.endpoint.lines))

    def test_asked_to_wait(self) -> None:
        """
        A member whose lobby has too much to do comes back as late as it is told.
        """
        _, second = self.pair()
        greet = self.world.requests.greet

        async def refuse(*_: Any) -> Any:
            raise Refused(Code.BUSY, "too many at once", {"retry_after": 30.0})

        self.patch(self.world.requests, "greet", refuse)
        self.endpoint.lines[-1].end()
        self.pass_time(1.0)
        lines = len(self.endpoint.lines)
        self.pass_time(25.0)
        self.assertEqual(lines, len(self.endpoint.lines))
        self.patch(self.world.requests, "greet", greet)
        self.pass_time(10.0)
        self.assertFalse(second.is_over)
        self.await_(second.ready())

    def test_closed_while_away(self) -> None:
        """
        A player who hangs up while the lobby is away does not come back.
        """
        self.pair()
        lines = len(self.endpoint.lines)
        self.endpoint.lines[-1].end()
        self.pass_time()
        waiting = len(self.world.clock.getDelayedCalls())
        self.bob.close()
        # Nothing keeps the player's program from ending.
        self.assertEqual(len(self.world.clock.getDelayedCalls()), waiting - 1)
        self.pass_time(10.0)
        self.assertEqual(len(self.endpoint.lines), lines)

    def test_invite(self) -> None:
        """
        A player who listens is invited, and joins without a token.
        """
        first, _ = self.pair()
        eve, invites = self.player("eve"), list[PartyInvite]()
        self.await_(eve.on_invite(invites.append))
        # A party of two for a game of two is full.
        self.await_(first.kick(self.bob.player_id))
        self.await_(first.invite(eve.player_id))
        (invite,) = invites
        self.assertEqual(invite.host.name, "ann")
        party = self.await_(eve.join(invite.party_id))
        self.assertEqual(len(party.members), 2)

    def test_out(self) -> None:
        """
        Those who leave or are removed learn it, and may form another party.
        """
        first, second = self.pair()
        self.await_(first.promote(self.bob.player_id))
        self.assertTrue(second.is_host)
        self.await_(second.kick(self.ann.player_id))
        self.assertEqual(self.successResultOf(first.closed), "kicked")
        self.await_(second.leave())
        self.assertEqual(self.successResultOf(second.closed), "left")
        self.assertFalse(self.await_(self.ann.create()).is_over)

    def test_open_parties(self) -> None:
        """
        Open parties are listed; a new token replaces the old one.
        """
        ann, bob = self.player("ann"), self.player("bob")
        party = self.await_(ann.create("duel", is_open=True))
        (listed,) = self.await_(bob.open_parties("duel"))
        self.assertEqual((listed.party_id, listed.host), (party.party_id, "ann"))
        before = party.token
        self.assertEqual(self.await_(party.renew_token()), party.token)
        self.assertNotEqual(party.token, before)
        self.await_(bob.join(listed.party_id))
        self.pass_time()
        self.assertEqual(len(party.members), 2)
        for one in (ann, bob):
            one.close()
        self.pass_time(61.0)
        self.assertEqual(self.world.lobby.state.parties, {})


class WholeTests(SynchronousTestCase):
    """Friends who play a match in a real game server, over UDP."""

    def test_play_and_again(self) -> None:
        """
        Two friends in a party accept a match, play it over UDP, and after its end are
        still together: the next match begins the same way.
        """
        world = WholeWorld({Teller.name: Teller()})
        ann, bob = world.client("ann"), world.client("bob")
        made, joined = list[LiveParty](), list[LiveParty]()
        ann.parties.create(Teller.name).addCallback(made.append)
        world.run(lambda: bool(made), 5.0)
        first = made[0]
        bob.parties.join(first.party_id, token=first.token).addCallback(joined.append)
        world.run(lambda: bool(joined), 5.0)
        second = joined[0]
        for number in range(2):
            matches: list[Match] = []
            first.queue(Teller.name).addCallback(matches.append)
            second.next_match().addCallback(matches.append)
            world.run(lambda found=matches: len(found) == 2, 20.0)
            self.assertEqual(len({match.match_id for match in matches}), 1)
            self.assertEqual({match.way for match in matches}, {"udp"})
            said = matches[0].act({"type": "say", "word": "hello"})
            world.run(lambda m=matches[0], n=said: m.acked == n, 5.0)
            self.assertEqual(matches[0].acked, said)
            self.assertEqual((first.state, second.state), ("in_game", "in_game"))
            playing = world.played[number]
            playing.tell(RoomEnded(MatchEnd(playing.plan.match_id, "finished")))
            world.run(lambda: second.state == "idle", 5.0)
            self.assertEqual((first.state, second.state), ("idle", "idle"))
            self.assertEqual(len(first.members), 2)
        ann.close()
        bob.close()
