"""Parties, as their members know them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.support.fleets import MemoryFleet
from tests.support.lobbies import LobbyWorld, MemoryLine, everybody, silent
from tests.support.races import GAMES
from vinom.base.model import MatchEnd
from vinom.errors import NoCapacity
from vinom.lobby.matchmaking.parties import MOST_WAITING, PartyBounds
from vinom.store.memory.lobby import MemoryLobbyStore


def pushed(line: MemoryLine, kind: str) -> list[dict[str, Any]]:
    """Take what was sent on a line; return the data of one type."""
    return [m["data"] for m in line.heard() if m["type"] == kind]


def code(said: list[dict[str, Any]]) -> str:
    return said[-1]["error"]["code"]


class PartyWorld(LobbyWorld):
    """A lobby with some players in it."""

    def __init__(self, *party: str, **parts: Any) -> None:
        super().__init__(games=GAMES, **parts)
        self.lines: dict[str, MemoryLine] = {}
        self.ids: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        if party:
            self.form(*party)

    def enter(self, *names: str, **line: Any) -> list[MemoryLine]:
        """Say hello for some players."""
        for name in names:
            self.lines[name], welcome = self.hello(name, **line)
            self.ids[name], self.keys[name] = (
                welcome["player_id"],
                welcome["player_key"],
            )
        return [self.lines[name] for name in names]

    def create(self, name: str, **facts: Any) -> dict[str, Any]:
        """Create a party; returns what its host needs to invite others."""
        if name not in self.lines:
            self.enter(name)
        (said,) = self.lines[name].ask("create_party", **facts)
        assert said["type"] == "party_created", said
        data: dict[str, Any] = said["data"]
        return data

    def form(self, *names: str, **facts: Any) -> dict[str, Any]:
        """Form a party of these players; what was sent is taken."""
        made = self.create(names[0], **facts)
        for name in names[1:]:
            if name not in self.lines:
                self.enter(name)
            said = self.join(name, made)
            assert said[0]["type"] == "party_update", said
        for name in names:
            self.lines[name].heard()
        return made

    def join(self, name: str, made: dict[str, Any]) -> list[dict[str, Any]]:
        return self.lines[name].ask(
            "join_party", party_id=made["party_id"], token=made["token"]
        )

    def party(self, name: str) -> dict[str, Any] | None:
        """Take how a player's party is, as the player was sent it last."""
        found = pushed(self.lines[name], "party_update")
        return found[-1]["party"] if found else None

    def come_back(self, name: str) -> list[dict[str, Any]]:
        """Say hello again on a new line; returns the news."""
        self.lines[name], news = self.back(self.keys[name])
        return news


class FormingTests(SynchronousTestCase):
    """Coming together."""

    def test_create(self) -> None:
        """
        Who creates a party is its host, and gets what friends need to join it.
        """
        world = PartyWorld()
        made = world.create("ann", game="duel", options={"size": 7})
        self.assertEqual(len(made["token"]), 26)
        self.assertEqual(made["address"], "192.0.2.1:4600")
        party = made["party"]
        self.assertEqual(party["host"], world.ids["ann"])
        self.assertEqual(party["state"], "idle")
        self.assertEqual((party["game"], party["options"]), ("duel", {"size": 7}))
        self.assertEqual(party["size"], 2)
        self.assertNotIn("token", party)
        line = world.lines["ann"]
        self.assertEqual(code(line.ask("create_party")), "already_in_party")
        (other,) = world.enter("bob")
        self.assertEqual(code(other.ask("create_party", game="chess")), "unknown_game")
        wrong = other.ask("create_party", game="duel", options={"size": "x"})
        self.assertEqual(code(wrong), "bad_options")

    def test_join_by_token(self) -> None:
        """
        A friend joins with the token, and everybody sees who is in.
        """
        world = PartyWorld()
        made = world.create("ann")
        world.enter("bob")
        (said,) = world.join("bob", made)
        names = [one["name"] for one in said["data"]["party"]["members"]]
        self.assertEqual(names, ["ann", "bob"])
        party = world.party("ann")
        assert party is not None
        self.assertEqual([one["name"] for one in party["members"]], names)
        self.assertEqual([one["connected"] for one in party["members"]], [True, True])
        self.assertEqual(code(world.join("bob", made)), "already_in_party")

    def test_join_by_password(self) -> None:
        """
        A password lets in who has it; a party with one is not open to others.
        """
        world = PartyWorld()
        made = world.create("ann", password="secret", open=True)
        (bob,) = world.enter("bob")
        wish = {"party_id": made["party_id"]}
        for wrong in ({}, {"password": "Secret"}, {"token": "secret"}):
            self.assertEqual(
                code(bob.ask("join_party", **wish, **wrong)), "no_such_party"
            )
        (said,) = bob.ask("join_party", **wish, password="secret")
        self.assertTrue(said["data"]["party"]["password"])
        (kept,) = world.lobby.state.parties.values()
        self.assertNotIn("secret", kept.password_hash + kept.token_hash)
        self.assertNotIn(made["token"], str(kept))

    def test_strangers(self) -> None:
        """
        A stranger gets the same answer for a wrong token and for no party.
        """
        world = PartyWorld()
        made = world.create("ann")
        (bob,) = world.enter("bob")
        answers = [
            bob.ask("join_party", party_id=party_id, **proof)[0]["error"]
            for party_id in (made["party_id"], "nosuchparty")
            for proof in ({}, {"token": "x" * 26}, {"password": "x"})
        ]
        self.assertEqual(len({str(answer) for answer in answers}), 1)
        self.assertEqual(answers[0]["code"], "no_such_party")

    def test_guessing(self) -> None:
        """
        After some wrong tries an address has to wait, whatever name it uses; others,
        and those with the right token after a while, come in.
        """
        world = PartyWorld(guests="yes")
        made = world.create("ann")
        codes = []
        for number in range(12):
            (line,) = world.enter(f"g{number}", host="203.0.113.7")
            codes.append(
                code(line.ask("join_party", party_id=made["party_id"], token="x"))
            )
        self.assertEqual(codes, ["no_such_party"] * 10 + ["rate_limited"] * 2)
        world.enter("eve", host="203.0.113.7")
        self.assertEqual(code(world.join("eve", made)), "rate_limited")
        world.enter("bob", host="198.51.100.7")
        self.assertEqual(world.join("bob", made)[0]["type"], "party_update")
        world.clock.advance(6)
        self.assertEqual(world.join("eve", made)[0]["type"], "party_update")

    def test_guessing_from_everywhere(self) -> None:
        """
        A password that many addresses guess cannot be tried for a while; the link can.
        """
        world = PartyWorld(guests="yes")
        made = world.create("ann", password="secret")
        codes = []
        for number in range(12):
            (line,) = world.enter(f"g{number}", host=f"198.51.{number}.7")
            wish = {"party_id": made["party_id"], "password": f"p{number}"}
            codes.append(code(line.ask("join_party", **wish)))
        self.assertEqual(codes, ["no_such_party"] * 10 + ["rate_limited"] * 2)
        world.enter("bob")
        self.assertEqual(world.join("bob", made)[0]["type"], "party_update")

    def test_passwords_without_end(self) -> None:
        """
        An address that makes or tries one password after the other has to wait, right
        ones included; parties without a password, and other addresses, do not.
        """
        world = PartyWorld(guests="yes", party_bounds=PartyBounds(hashes_burst=5))
        (ann, bob) = world.enter("ann", "bob", host="203.0.113.7")
        made = world.create("cat", password="secret")
        wish = {"party_id": made["party_id"], "password": "secret"}

        def again(line: MemoryLine, kind: str, **facts: Any) -> str:
            (said,) = line.ask(kind, **facts)
            line.ask("leave_party")
            return code([said]) if "error" in said else str(said["type"])

        answers = [again(ann, "create_party", password="x") for _ in range(3)]
        answers += [again(bob, "join_party", **wish) for _ in range(3)]
        self.assertEqual(answers[2:5], ["party_created", *["party_update"] * 2])
        self.assertEqual(answers[5], "rate_limited")
        self.assertEqual(again(ann, "create_party", password="x"), "rate_limited")
        self.assertEqual(again(ann, "create_party"), "party_created")
        (dan,) = world.enter("dan", host="198.51.100.7")
        self.assertEqual(again(dan, "join_party", **wish), "party_update")
        # Passwords that nobody looked at use up none of the party's tries.
        refused = {again(bob, "join_party", **wish) for _ in range(20)}
        self.assertEqual(refused, {"rate_limited"})
        self.assertEqual(again(dan, "join_party", **wish), "party_update")
        world.clock.advance(1)
        self.assertEqual(again(bob, "join_party", **wish), "party_update")

    def test_passwords_are_slow(self) -> None:
        """
        While passwords are hashed, one at a time, all others are served; if too many
        wait, the next one is sent away instead of waiting, too.
        """
        waiting: list[tuple[Any, Deferred[Any]]] = []

        def in_thread(call: Any) -> Deferred[Any]:
            waiting.append((call, Deferred()))
            return waiting[-1][1]

        world = PartyWorld(guests="yes", in_thread=in_thread)
        lines = [
            world.enter(f"g{number}", host=f"198.51.{number}.7")[0]
            for number in range(MOST_WAITING + 2)
        ]
        said = [line.ask("create_party", password="secret") for line in lines]
        self.assertEqual(said[:-1], [[]] * (MOST_WAITING + 1))
        self.assertEqual(code(said[-1]), "busy")
        self.assertTrue(world.create("bob"))
        for number, line in enumerate(lines[:-1]):
            call, done = waiting[number]
            self.assertEqual(len(waiting), number + 1)
            done.callback(call())
            self.assertEqual(line.heard()[0]["type"], "party_created")

    def test_full(self) -> None:
        """
        A party for two takes no third.
        """
        world = PartyWorld()
        made = world.form("ann", "bob", game="duel")
        world.enter("cat")
        self.assertEqual(code(world.join("cat", made)), "party_full")

    def test_invite(self) -> None:
        """
        An invited player joins without a token; only the host invites.
        """
        world = PartyWorld()
        made = world.form("ann", "bob", game="party")
        (cat,) = world.enter("cat")
        bob, ann = world.lines["bob"], world.lines["ann"]
        invite = {"player_id": world.ids["cat"]}
        self.assertEqual(code(bob.ask("invite_to_party", **invite)), "not_host")
        ann.ask("invite_to_party", **invite)
        (push,) = pushed(cat, "party_invite")
        self.assertEqual(push["host"]["name"], "ann")
        self.assertEqual(push["game"], "party")
        said = cat.ask("join_party", party_id=push["party_id"])
        self.assertEqual(said[0]["type"], "party_update")
        self.assertEqual(push["party_id"], made["party_id"])

    def test_invitations_without_end(self) -> None:
        """
        Nobody can bury a player in invitations, or send them to everybody.
        """
        world = PartyWorld(guests="yes")
        (eve,) = world.enter("eve")
        for number in range(6):
            (host,) = world.enter(f"h{number}", host=f"198.51.{number}.7")
            world.create(f"h{number}")
            said = host.ask("invite_to_party", player_id=world.ids["eve"])
        self.assertEqual(code(said), "rate_limited")
        self.assertEqual(len(pushed(eve, "party_invite")), 5)
        (ann,) = world.enter("ann", host="203.0.113.7")
        world.create("ann")
        codes = []
        for number in range(22):
            said = ann.ask("invite_to_party", player_id=f"p{number}")
            codes.append(said[-1]["success"])
        self.assertEqual(codes, [True] * 20 + [False] * 2)

    def test_new_token(self) -> None:
        """
        A host who is not sure who has the link makes a new one; the old one is void.
        """
        world = PartyWorld()
        made = world.create("ann")
        (said,) = world.lines["ann"].ask("invite_to_party")
        self.assertEqual(said["type"], "party_token")
        world.enter("bob")
        self.assertEqual(code(world.join("bob", made)), "no_such_party")
        self.assertEqual(world.join("bob", said["data"])[0]["type"], "party_update")

    def test_kick(self) -> None:
        """
        A player whom the host removes is sent that, and cannot come back.
        """
        world = PartyWorld()
        made = world.form("ann", "bob")
        ann, bob = world.lines["ann"], world.lines["bob"]
        kick = {"player_id": world.ids["bob"]}
        self.assertEqual(
            code(bob.ask("kick_from_party", player_id=world.ids["ann"])), "not_host"
        )
        said = ann.ask("kick_from_party", **kick)
        self.assertEqual(len(said[-1]["data"]["party"]["members"]), 1)
        self.assertEqual(pushed(bob, "party_closed")[0]["reason"], "kicked")
        self.assertEqual(code(world.join("bob", made)), "no_such_party")
        self.assertEqual(code(ann.ask("kick_from_party", **kick)), "no_such_player")
        self.assertEqual(
            code(ann.ask("kick_from_party", player_id=world.ids["ann"])), "bad_field"
        )

    def test_host_hand_over(self) -> None:
        """
        A host makes another one, or leaves; then the next in line is the host.
        """
        world = PartyWorld("ann", "bob", "cat")
        ann, cat = world.lines["ann"], world.lines["cat"]
        ann.ask("promote_in_party", player_id=world.ids["cat"])
        self.assertEqual(world.party("cat")["host"], world.ids["cat"])
        self.assertEqual(
            code(ann.ask("promote_in_party", player_id=world.ids["ann"])), "not_host"
        )
        (said,) = cat.ask("leave_party")
        self.assertEqual(said["data"]["reason"], "left")
        self.assertEqual(world.party("bob")["host"], world.ids["ann"])
        ann.ask("leave_party")
        world.lines["bob"].ask("leave_party")
        self.assertEqual(world.lobby.state.parties, {})
        self.assertEqual(code(ann.ask("leave_party")), "not_in_party")

    def test_ready(self) -> None:
        """
        Members see who is ready.
        """
        world = PartyWorld("ann", "bob")
        world.lines["bob"].ask("ready_in_party", ready=True)
        party = world.party("ann")
        self.assertEqual([one["ready"] for one in party["members"]], [False, True])

    def test_loadouts(self) -> None:
        """
        Each brings its own loadout, and may change it; the game checks it when the
        party queues, and the host is sent whose is wrong.
        """
        world = PartyWorld("ann", "bob")
        ann, bob = world.lines["ann"], world.lines["bob"]
        bob.ask("ready_in_party", ready=True, loadout={"hat": 1})
        bob.ask("ready_in_party", ready=False)
        (party,) = world.lobby.state.parties.values()
        self.assertEqual(party.members[1].loadout, b'{"hat":1}')
        error = ann.ask("queue", game="duel")[-1]["error"]
        self.assertEqual(error["code"], "bad_loadout")
        self.assertTrue(error["details"]["field"].startswith("members[1].loadout"))

    def test_list(self) -> None:
        """
        Open parties are listed with filters; closed ones never.
        """
        world = PartyWorld()
        world.create("ann", open=True, game="duel")
        world.create("bob", open=True, password="x")
        world.create("cat")
        (dan,) = world.enter("dan")

        def hosts(**wish: Any) -> list[str]:
            (said,) = dan.ask("list_parties", **wish)
            return [one["host"] for one in said["data"]["parties"]]

        self.assertEqual(hosts(), ["bob", "ann"])
        self.assertEqual(hosts(game="duel"), ["ann"])
        self.assertEqual(hosts(password=True), ["bob"])
        self.assertEqual(hosts(password=False), ["ann"])
        self.assertEqual(hosts(limit=1), ["bob"])

    def test_too_many(self) -> None:
        """
        One address cannot fill the server with parties; those that end make room.
        """
        world = PartyWorld(
            guests="yes", party_bounds=PartyBounds(per_address=2, most=9)
        )
        for name in ("ann", "bob"):
            world.enter(name, host="203.0.113.7")
            world.create(name)
        (eve,) = world.enter("eve", host="203.0.113.7")
        self.assertEqual(code(eve.ask("create_party")), "too_many_parties")
        world.enter("cat", host="198.51.100.7")
        world.create("cat")
        world.lines["ann"].ask("leave_party")
        self.assertEqual(eve.ask("create_party")[0]["type"], "party_created")


class AwayTests(SynchronousTestCase):
    """Members without a connection."""

    def test_away_and_back(self) -> None:
        """
        A member who comes back in time is still in, and the others see both.
        """
        world = PartyWorld("ann", "bob")
        world.lines["bob"].hang_up()
        party = world.party("ann")
        self.assertEqual([one["connected"] for one in party["members"]], [True, False])
        world.clock.advance(59)
        news = world.come_back("bob")
        self.assertEqual(news[0]["type"], "party_update")
        party = world.party("ann")
        self.assertEqual([one["connected"] for one in party["members"]], [True, True])
        world.clock.advance(100)
        self.assertEqual(len(world.lobby.state.parties), 1)

    def test_host_away_for_good(self) -> None:
        """
        When the host stays away another member is the host.
        """
        world = PartyWorld("ann", "bob")
        world.lines["ann"].hang_up()
        world.clock.advance(60.1)
        party = world.party("bob")
        self.assertEqual(party["host"], world.ids["bob"])
        self.assertEqual(len(party["members"]), 1)
        self.assertEqual(world.come_back("ann"), [])

    def test_failover(self) -> None:
        """
        A member who stayed away has left, also if a failover has lost that.
        """
        world = PartyWorld("ann", "bob")
        state, names = world.lobby.state, ("parties", "party_of")
        kept = deepcopy([getattr(state, name) for name in names])
        world.lines["bob"].hang_up()
        world.clock.advance(60.1)
        for name, value in zip(names, kept, strict=True):
            setattr(state, name, value)
        world.parties.look_again()
        world.clock.advance(0.1)
        self.assertEqual(len(world.party("ann")["members"]), 1)

    def test_lost_without_a_store(self) -> None:
        """
        So it is if the store did not answer when the host was disconnected.
        """
        world = PartyWorld("ann", "bob")
        patched = self.patch(MemoryLobbyStore, "of_player", silent)
        world.lines["ann"].hang_up()
        world.clock.advance(1)
        patched.restore()
        world.clock.advance(1)
        (update,) = pushed(world.lines["bob"], "party_update")
        self.assertFalse(update["party"]["members"][0]["connected"])
        world.clock.advance(58)
        self.assertEqual(world.lines["bob"].heard(), [])
        world.clock.advance(3)
        self.assertEqual(world.party("bob")["host"], world.ids["bob"])

    def test_forgotten(self) -> None:
        """
        A party of which nobody is connected is forgotten after a while.
        """
        world = PartyWorld("ann", "bob")
        for line in world.lines.values():
            line.hang_up()
        world.clock.advance(60.1)
        self.assertEqual(world.lobby.state.parties, {})
        self.assertEqual(len(world.parties._admission.counts), 0)

    def test_stop(self) -> None:
        """
        A stopped node leaves no timer behind.
        """
        world = PartyWorld("ann", "bob")
        world.lines["ann"].hang_up()
        world.requests.stopService()
        world.matchmaker.stopService()
        world.parties.stopService()
        self.assertEqual(world.clock.getDelayedCalls(), [])


class QueueTests(SynchronousTestCase):
    """Queueing together."""

    def test_host_queues_for_all(self) -> None:
        """
        The host queues, everybody waits, and all meet in one match.
        """
        world = PartyWorld("ann", "bob")
        ann, bob = world.lines["ann"], world.lines["bob"]
        self.assertEqual(code(bob.ask("queue", game="squad")), "not_host")
        said = ann.ask("queue", game="squad")
        answer = next(m for m in said if m["type"] == "queue_status")
        self.assertEqual(answer["data"]["position"], 1)
        heard = bob.heard()
        self.assertEqual(
            [m["data"]["state"] for m in heard if m["type"] == "queue_status"],
            ["waiting"],
        )
        party = [m["data"]["party"] for m in heard if m["type"] == "party_update"][-1]
        self.assertEqual((party["state"], party["game"]), ("in_queue", "squad"))
        world.form("cat", "dan")
        world.lines["cat"].ask("queue", game="squad")
        world.clock.advance(0)
        (hosted,) = world.fleet.hosted
        names = [seat.name for seat in hosted.plan.seats]
        self.assertEqual(names, ["ann", "bob", "cat", "dan"])
        for name in names:
            line = world.lines[name]
            heard = line.heard()
            self.assertIn("match_found", [m["type"] for m in heard])
            self.assertFalse(line.is_closed)
            party = [m["data"]["party"] for m in heard if m["type"] == "party_update"]
            self.assertEqual(party[-1]["state"], "in_game")

    def test_idle_again_after_the_match(self) -> None:
        """
        After its match the party is there with the same members, and queues again.
        """
        world = PartyWorld("ann", "bob")
        world.lines["ann"].ask("queue", game="duel")
        world.clock.advance(0)
        self.assertEqual(
            code(world.lines["ann"].ask("queue", game="duel")), "already_in_match"
        )
        world.fleet.end(0, "finished")
        party = world.party("bob")
        self.assertEqual(party["state"], "idle")
        self.assertEqual([one["name"] for one in party["members"]], ["ann", "bob"])
        world.lines["ann"].ask("queue", game="duel")
        world.clock.advance(0)
        self.assertEqual(len(world.fleet.hosted), 2)

    def test_match_lost_with_its_node(self) -> None:
        """
        A party whose match was at a node that died is sent that it is idle, and queues
        again.
        """
        world = PartyWorld("ann", "bob")
        world.lines["ann"].ask("queue", game="duel")
        world.clock.advance(0)
        plan = self.successResultOf(world.lobby.of_player(world.ids["ann"])).plan
        assert plan is not None
        end = MatchEnd(plan.match_id, "lost", seats=plan.seats)
        # As another node does once the lease is over.
        world.lobby.end(end, expires_at=world.clock.seconds() + 600.0)
        world.lines["bob"].heard()
        world.parties.freed([seat.player_id for seat in plan.seats])
        (update,) = pushed(world.lines["bob"], "party_update")
        self.assertEqual(update["party"]["state"], "idle")
        self.assertEqual(world.party("ann")["state"], "idle")

    def test_lines_lost_in_the_match(self) -> None:
        """
        Players without a line keep their party while they play, however long.
        """
        world = PartyWorld("ann", "bob")
        world.lines["ann"].ask("queue", game="duel")
        world.clock.advance(0)
        for line in world.lines.values():
            line.hang_up()
        world.clock.advance(1000)
        self.assertEqual(len(world.lobby.state.parties), 1)
        news = world.come_back("ann")
        kinds = [m["type"] for m in news]
        self.assertEqual(kinds, ["party_update", "match_found"])
        self.assertFalse(world.lines["ann"].is_closed)
        world.fleet.end(0, "finished")
        self.assertEqual(world.party("ann")["state"], "idle")
        world.clock.advance(60.1)
        self.assertEqual(len(world.party("ann")["members"]), 1)

    def test_all_left_the_match(self) -> None:
        """
        A party whose members have all left their match early is idle again.
        """
        world = PartyWorld("ann", "bob")
        world.lines["ann"].ask("queue", game="squad")
        world.form("cat", "dan")
        world.lines["cat"].ask("queue", game="squad")
        world.clock.advance(0)
        match_id = world.fleet.hosted[0].plan.match_id
        world.matches.seat_changed(match_id, 0, "left")
        self.assertEqual(world.party("bob")["state"], "in_game")
        world.matches.seat_changed(match_id, 1, "left")
        self.assertEqual(world.party("bob")["state"], "idle")
        self.assertEqual(world.party("dan")["state"], "in_game")

    def test_too_large(self) -> None:
        """
        A party that is larger than a game cannot queue for it.
        """
        world = PartyWorld("ann", "bob", "cat")
        error = world.lines["ann"].ask("queue", game="duel")[0]["error"]
        self.assertEqual((error["code"], error["details"]["limit"]), ("party_full", 2))

    def test_cancel(self) -> None:
        """
        The host cancels for all; a member does so by leaving.
        """
        world = PartyWorld("ann", "bob")
        ann, bob = world.lines["ann"], world.lines["bob"]
        ann.ask("queue", game="squad")
        bob.heard()
        self.assertEqual(code(bob.ask("cancel")), "not_host")
        self.assertEqual(ann.ask("cancel")[-1]["data"], {"state": "idle"} | _NO_PLACE)
        heard = bob.heard()
        self.assertIn("idle", [m["data"].get("state") for m in heard])
        self.assertEqual(world.lobby.state.parties.popitem()[1].state, "idle")

    def test_leave_while_queued(self) -> None:
        """
        When a member leaves, the others wait no longer, and may queue again.
        """
        world = PartyWorld("ann", "bob", "cat")
        ann, bob = world.lines["ann"], world.lines["bob"]
        ann.ask("queue", game="squad")
        bob.heard()
        said = bob.ask("leave_party")
        self.assertEqual(said[-1]["type"], "party_closed")
        self.assertIn("queue_status", [m["type"] for m in said])
        self.assertEqual(everybody(world.lobby), [])
        party = world.party("ann")
        self.assertEqual((party["state"], len(party["members"])), ("idle", 2))
        self.assertEqual(bob.ask("queue", game="squad")[0]["type"], "queue_status")
        self.assertIn(
            "queue_status", [m["type"] for m in ann.ask("queue", game="squad")]
        )

    def test_join_while_queued(self) -> None:
        """
        Nobody comes into a party that waits; who waits alone joins no party.
        """
        world = PartyWorld()
        made = world.form("ann", "bob")
        world.lines["ann"].ask("queue", game="squad")
        (cat,) = world.enter("cat")
        error = world.join("cat", made)[0]["error"]
        self.assertEqual(error["code"], "not_now")
        self.assertEqual(error["details"]["state"], "in_queue")
        world.lines["ann"].ask("cancel")
        cat.ask("queue", game="squad")
        self.assertEqual(code(world.join("cat", made)), "already_queued")

    def test_suspended(self) -> None:
        """
        A party is not matched while one of its members is away, keeps its place for ten
        seconds, and then leaves the queue, not the party.
        """
        world = PartyWorld("ann", "bob")
        world.lines["ann"].ask("queue", game="squad")
        world.lines["bob"].hang_up()
        world.form("cat", "dan")
        world.lines["cat"].ask("queue", game="squad")
        world.clock.advance(5)
        self.assertEqual(world.fleet.hosted, [])
        self.assertTrue(everybody(world.lobby)[0].suspended)
        world.come_back("bob")
        world.clock.advance(0)
        (hosted,) = world.fleet.hosted
        self.assertEqual(hosted.plan.seats[0].name, "ann")

    def test_away_too_long(self) -> None:
        """
        When a member stays away, the others are sent that they wait no longer.
        """
        world = PartyWorld("ann", "bob")
        world.lines["ann"].ask("queue", game="squad")
        world.lines["bob"].hang_up()
        world.lines["ann"].heard()
        world.clock.advance(10.1)
        self.assertEqual(everybody(world.lobby), [])
        heard = world.lines["ann"].heard()
        self.assertIn("idle", [m["data"].get("state") for m in heard])
        (party,) = world.lobby.state.parties.values()
        self.assertEqual((party.state, len(party.members)), ("idle", 2))

    def test_both_away(self) -> None:
        """
        An entry of a party of which several were away waits until all are back.
        """
        world = PartyWorld("ann", "bob")
        world.lines["ann"].ask("queue", game="squad")
        for name in ("ann", "bob"):
            world.lines[name].hang_up()
        world.come_back("ann")
        self.assertTrue(everybody(world.lobby)[0].suspended)
        world.come_back("bob")
        self.assertFalse(everybody(world.lobby)[0].suspended)

    def test_member_who_queued_alone(self) -> None:
        """
        A party whose member is in a match of its own cannot queue, and is told who.
        """
        world = PartyWorld()
        bob, dan = world.enter("bob", "dan", ends_at_match=False)
        bob.ask("queue", game="duel")
        dan.ask("queue", game="duel")
        world.clock.advance(0)
        made = world.create("ann")
        world.join("bob", made)
        error = world.lines["ann"].ask("queue", game="squad")[-1]["error"]
        self.assertEqual(error["code"], "already_in_match")
        self.assertEqual(error["details"]["player_id"], world.ids["bob"])

    def test_void_match(self) -> None:
        """
        A party whose match is void waits again at its old place.
        """
        world = PartyWorld("ann", "bob")
        world.form("cat", "dan")
        world.lines["ann"].ask("queue", game="squad")
        world.lines["cat"].ask("queue", game="squad")
        world.clock.advance(0)
        world.fleet.end(0, "void", present=(0, 1, 2))
        self.assertEqual([e.players[0].name for e in everybody(world.lobby)], ["ann"])
        self.assertEqual(world.party("ann")["state"], "in_queue")
        self.assertEqual(world.party("cat")["state"], "idle")

    def test_kicked_while_playing(self) -> None:
        """
        A party that lost a member meanwhile is not put back in the queue with it.
        """
        world = PartyWorld(fleet=MemoryFleet(capacity=0))
        world.form("ann", "bob", "cat")
        world.lines["ann"].ask("queue", game="party")
        world.clock.advance(6)
        world.lines["ann"].ask("kick_from_party", player_id=world.ids["cat"])
        world.fleet.hosted[0].answer.errback(NoCapacity("none"))
        self.assertEqual(everybody(world.lobby), [])
        self.assertEqual(world.party("ann")["state"], "idle")
        self.assertEqual(
            world.lines["cat"].ask("queue", game="duel")[-1]["type"], "queue_status"
        )

    def test_drain(self) -> None:
        """
        A node that drains sends parties away from its queue.
        """
        world = PartyWorld("ann", "bob")
        world.lines["ann"].ask("queue", game="squad")
        self.successResultOf(world.requests.drain())
        self.assertEqual(everybody(world.lobby), [])
        self.assertEqual(world.party("bob")["state"], "idle")


_NO_PLACE = {"game": None, "position": None, "waited": 0.0}
