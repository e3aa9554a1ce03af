"""What a store of parties, entries, prematches and matches does."""

from __future__ import annotations

from typing import Any

import attrs

from tests.store.contract import ANN, BOB, CAT, PLACE, entry, plan
from vinom.base.model import (
    Left,
    LobbyCounts,
    MatchEnd,
    MatchPlan,
    Party,
    PartyChange,
    PartyMember,
    Placement,
    Player,
    Prematch,
    QueueEntry,
    Started,
    Waiting,
)

DAN = Player("dan", "Dan")


def prematch(*entries: QueueEntry, until: float = 100.0, **facts: Any) -> Prematch:
    """Make a prematch of entries."""
    prematch_id = facts.pop("prematch_id", "p1")
    return Prematch(prematch_id, "maze", b"{}", entries, until, **facts)


def party(party_id: str, *players: Player, **facts: Any) -> Party:
    """Make a party; the first player is its host."""
    members = tuple(PartyMember(player) for player in players)
    return Party(party_id, members, players[0].player_id, **facts)


def together(party_id: str, since: float, *players: Player) -> QueueEntry:
    """Make the entry of a party."""
    return QueueEntry(f"e-{party_id}", players, "maze", since, party_id=party_id)


class LobbyCase:
    """Reads what `vinom.store.interfaces.ILobbyStore` has, of `make_store`."""

    async def pass_time(self, seconds: float) -> None:
        """Let time pass for a store that has a clock of its own."""

    async def add(self, store: Any, *entries: QueueEntry) -> int:
        """Queue some entries; returns the place of the last one, 0 if refused."""
        for one in entries:
            found = await store.enqueue(one)
        return int(found.place)

    async def filled(self, *players: Player, since: float = 1.0) -> Any:
        """Make a store in which these players wait, equally long."""
        store = self.make_store()
        await self.add(store, *(entry(player, since) for player in players))
        return store

    async def paired(self, store: Any, *players: Player, since: float = 1.0) -> Party:
        """Form a party, and queue it; returns it as it was then."""
        one = party("p1", *players, is_open=True, game="maze")
        await store.open(one)
        waits = attrs.evolve(one, state="in_queue", entry_id="e-p1", version=2)
        found = await store.enqueue(together("p1", since, *players), waits)
        self.assertEqual(found.refusal, "")
        return waits

    async def oldest(self, store: Any, most: int = 100, **queue: Any) -> list[str]:
        """List the players who can be matched in the maze's queue."""
        page = await store.page(
            "maze", queue.get("options", b"{}"), queue.get("queue", ""), "", most
        )
        return [player.name for one in page.entries for player in one.players]

    async def place(self, store: Any, entry_id: str) -> int:
        (found,) = await store.places([entry_id])
        return int(found)

    async def entry_of(self, store: Any, player_id: str) -> str:
        found = (await store.of_player(player_id)).entry
        return "" if found is None else str(found.entry_id)

    async def match_of(
        self, store: Any, player_id: str
    ) -> tuple[MatchPlan, Placement | None] | None:
        where = await store.of_player(player_id)
        return None if where.plan is None else (where.plan, where.placement)

    async def state(self, store: Any, party_id: str = "p1") -> str:
        return str((await store.find(party_id)).state)

    async def all_say_yes(self, store: Any, asked: Prematch) -> None:
        for player in asked.players:
            await store.answer(asked.prematch_id, player.player_id, True)


class QueueContract(LobbyCase):
    """Waiting."""

    async def test_longest_wait_first(self) -> None:
        """
        Players are listed by how long they wait, not by when they were stored; two who
        came at the same moment in the order of arrival.
        """
        store = self.make_store()
        for player, since, place in ((ANN, 3.0, 1), (BOB, 1.0, 1), (CAT, 2.0, 2)):
            self.assertEqual(await self.add(store, entry(player, since)), place)
        await self.add(store, entry(DAN, 2.0))
        self.assertEqual(await self.oldest(store), ["Bob", "Cat", "Dan", "Ann"])
        self.assertEqual(await self.oldest(store, 2), ["Bob", "Cat"])
        self.assertEqual(list(await store.places(["e-ann", "e-bob"])), [4, 1])
        self.assertEqual(list(await store.places([])), [])

    async def read(self, store: Any, most: int) -> list[list[str]]:
        """Read a queue in pages; the names of the players of each."""
        pages, after = [], ""
        while True:
            page = await store.page("maze", b"{}", "", after, most)
            pages.append([one.players[0].name for one in page.entries])
            after = page.next
            if not after:
                return pages

    async def test_pages(self) -> None:
        """
        A long queue is read in parts: each entry that can be matched once, in the order
        of their waits, those with equal waits in the order of arrival.
        """
        store = self.make_store()
        self.assertEqual(await self.read(store, 2), [[]])
        for number, since in enumerate((3.0, 1.0, 2.0, 2.0, 2.0, 1e-3, 1e9)):
            await self.add(store, entry(Player(f"p{number}", f"P{number}"), since))
        await store.suspend("e-p0", True)
        expected = ["P5", "P1", "P2", "P3", "P4", "P6"]
        found = await self.read(store, 2)
        self.assertEqual([name for page in found for name in page], expected)
        self.assertEqual(await self.read(store, 100), [expected])

    async def test_pages_of_a_queue_that_changes(self) -> None:
        """
        Entries that come and go while a queue is read hide no other one, and show none
        twice; not even if the last one of a part has gone.
        """
        players = [Player(f"p{number}", f"P{number}") for number in range(6)]
        store = await self.filled(*players, since=5.0)
        first = await store.page("maze", b"{}", "", "", 2)
        for player_id in ("p0", "p1"):
            self.assertTrue(await store.leave(player_id, ready=True))
        await self.add(store, entry(ANN, 1.0))
        second = await store.page("maze", b"{}", "", first.next, 2)
        self.assertEqual([one.entry_id for one in second.entries], ["e-p2", "e-p3"])
        await store.suspend("e-p3", True)
        await self.add(store, entry(BOB, 5.0))
        third = await store.page("maze", b"{}", "", second.next, 9)
        self.assertEqual(
            [one.entry_id for one in third.entries], ["e-p4", "e-p5", "e-bob"]
        )

    async def test_queues_are_apart(self) -> None:
        """
        Another name, and other options, are another queue of the same game.
        """
        store = self.make_store()
        for one in (
            entry(ANN, 1.0),
            entry(BOB, 2.0, queue="ranked"),
            entry(CAT, 3.0, options=b'{"rows":3}'),
        ):
            self.assertEqual(await self.add(store, one), 1)
        self.assertEqual(await self.oldest(store), ["Ann"])
        self.assertEqual(await self.oldest(store, queue="ranked"), ["Bob"])
        self.assertEqual(await self.oldest(store, options=b'{"rows":3}'), ["Cat"])
        self.assertEqual(await self.oldest(store, options=b'{"rows":4}'), [])
        ranked = await store.waiting("maze", b"{}", "ranked")
        self.assertEqual(ranked, Waiting(1, 1, 2.0))

    async def test_places(self) -> None:
        """
        A place counts those who asked for the same, suspended ones too, and moves up
        when somebody leaves.
        """
        store = self.make_store()
        other = QueueEntry("e-dan", (DAN,), "duel", 1.0)
        await self.add(store, entry(ANN, 1.0), entry(BOB, 2.0), entry(CAT, 3.0), other)
        await store.suspend("e-ann", True)
        self.assertEqual(await self.place(store, "e-cat"), 3)
        self.assertEqual(await self.place(store, "e-dan"), 1)
        await store.leave("ann")
        places = await store.places(["e-cat", "e-ann", "e-bob"])
        self.assertEqual(list(places), [2, 0, 1])

    async def test_waiting(self) -> None:
        """
        How many wait in a queue, how many of them can be matched, and since when, is
        known without reading it, and is in the answer to who queues.
        """
        store = self.make_store()
        self.assertEqual(await store.waiting("maze", b"{}"), Waiting())
        await self.add(store, QueueEntry("e-two", (BOB, CAT), "maze", 2.0))
        found = await store.enqueue(entry(ANN, 1.0))
        self.assertEqual((found.place, found.waiting), (1, Waiting(3, 3, 1.0)))
        for entry_id, is_suspended, expected in (
            ("e-ann", True, Waiting(3, 2, 2.0)),
            ("e-two", True, Waiting(3, 0, None)),
            ("e-two", False, Waiting(3, 2, 2.0)),
        ):
            for _ in range(2):
                self.assertTrue(await store.suspend(entry_id, is_suspended))
                self.assertEqual(await store.waiting("maze", b"{}"), expected)
        await store.leave("ann")
        await store.leave("bob", ready=True)
        self.assertEqual(await store.waiting("maze", b"{}"), Waiting())

    async def test_counts(self) -> None:
        """
        An operator sees how many wait for each game, the longest wait, and how many
        parties do what.
        """
        store = self.make_store()
        self.assertEqual(await store.counts(), LobbyCounts())
        await self.add(
            store,
            entry(ANN, 3.0),
            entry(BOB, 2.0, options=b'{"rows":3}'),
            entry(CAT, 4.0, suspended=True),
        )
        await store.suspend("e-bob", True)
        await store.open(party("p9", DAN))
        found = LobbyCounts({"maze": 3}, 2, 2.0, {"idle": 1})
        self.assertEqual(await store.counts(), found)
        await store.leave("bob")
        await store.suspend("e-cat", False)
        await store.close("p9", 1)
        self.assertEqual(await store.counts(), LobbyCounts({"maze": 2}, 0, 3.0))

    async def test_everything_is_kept(self) -> None:
        """
        An entry comes back as it was given.
        """
        store = self.make_store()
        kept = entry(
            ANN,
            1.5,
            options=b'{"rows":3}',
            loadouts=(b'{"hat":1}',),
            hosts=("::1",),
            ratings=(-1.25,),
            echoes=(("eu", 12.5), ("us", 99.0)),
            recent=("bob", "cat"),
        )
        await self.add(store, kept)
        page = await store.page("maze", kept.options, "", "", 9)
        self.assertEqual(list(page.entries), [kept])
        self.assertEqual((await store.of_player("ann")).entry, kept)

    async def test_refused(self) -> None:
        """
        Who waits or plays does not wait a second time, nor does one alone who is in a
        party; the same request, repeated, answers the same.
        """
        store = await self.filled(ANN)
        for _ in range(2):
            self.assertEqual(await self.add(store, entry(ANN, 1.0)), 1)
        twice = QueueEntry("other", (BOB, ANN), "maze", 2.0)
        self.assertEqual((await store.enqueue(twice)).refusal, "queued")
        self.assertEqual(await self.entry_of(store, "bob"), "")
        await store.start(plan("m1", CAT))
        found = await store.enqueue(QueueEntry("x", (BOB, CAT), "maze", 2.0))
        self.assertEqual((found.refusal, found.player_id), ("playing", "cat"))
        await store.open(party("p1", BOB))
        self.assertEqual((await store.enqueue(entry(BOB, 1.0))).refusal, "changed")
        self.assertEqual(await self.oldest(store), ["Ann"])

    async def test_leave(self) -> None:
        """
        A player who leaves the queue may join it again.
        """
        store = await self.filled(ANN)
        self.assertIsNone(await store.leave("bob"))
        self.assertIsNone(await store.leave("ann", "another"))
        self.assertEqual(await store.leave("ann", "e-ann"), Left(entry(ANN, 1.0)))
        self.assertIsNone(await store.leave("ann"))
        self.assertEqual(await self.entry_of(store, "ann"), "")
        self.assertEqual(await self.oldest(store), [])
        self.assertTrue(await self.add(store, entry(ANN, 2.0)))

    async def test_suspended(self) -> None:
        """
        A disconnected player keeps its place, and is matched with nobody, nor sent to a
        room.
        """
        store = await self.filled(ANN, BOB)
        self.assertTrue(await store.suspend("e-ann", True))
        self.assertFalse(await store.leave("ann", ready=True))
        found = await store.start(plan("m1", ANN, BOB), ["e-ann", "e-bob"])
        self.assertEqual(found, Started("gone"))
        self.assertTrue((await store.of_player("ann")).entry.suspended)
        self.assertEqual(await self.oldest(store), ["Bob"])
        self.assertTrue(await store.suspend("e-ann", False))
        self.assertTrue(await store.leave("ann", ready=True))
        self.assertFalse(await store.leave("ann", ready=True))
        for is_suspended in (True, False):
            self.assertFalse(await store.suspend("e-ann", is_suspended))


class PrematchContract(LobbyCase):
    """Being asked."""

    async def test_all_or_nothing(self) -> None:
        """
        A proposal that cannot have every entry changes nothing.
        """
        store = await self.filled(ANN, BOB)
        for wrong in (
            prematch(entry(ANN, 1.0), entry(CAT, 1.0)),
            prematch(entry(ANN, 1.0), entry(ANN, 1.0)),
        ):
            self.assertFalse(await store.propose(wrong))
        await store.suspend("e-bob", True)
        both = prematch(entry(ANN, 1.0), entry(BOB, 1.0))
        self.assertFalse(await store.propose(both))
        self.assertIsNone((await store.of_player("ann")).prematch)
        self.assertEqual(await self.oldest(store), ["Ann"])

    async def test_proposed_entries_do_not_wait(self) -> None:
        """
        Players of a prematch are matched with nobody else, and cannot queue again;
        their teams are kept. The same proposal, repeated, is there.
        """
        store = await self.filled(ANN, BOB, CAT)
        proposed = prematch(entry(ANN, 1.0), entry(BOB, 1.0), teams=(1, 0))
        for _ in range(2):
            self.assertTrue(await store.propose(proposed))
        self.assertEqual(await self.oldest(store), ["Cat"])
        self.assertEqual(list(await store.places(["e-cat", "e-ann"])), [1, 0])
        self.assertEqual(await store.waiting("maze", b"{}"), Waiting(1, 1, 1.0))
        self.assertEqual((await store.of_player("bob")).prematch, proposed)
        self.assertIsNone((await store.of_player("cat")).prematch)
        self.assertFalse(await store.leave("ann", ready=True))
        other = prematch(entry(ANN, 1.0), entry(CAT, 1.0), prematch_id="p2")
        self.assertFalse(await store.propose(other))
        again = QueueEntry("x", (BOB,), "maze", 1.0)
        self.assertEqual((await store.enqueue(again)).refusal, "queued")
        self.assertEqual(await self.entry_of(store, "ann"), "e-ann")
        found = await store.start(plan("m1", CAT, ANN), ["e-cat", "e-ann"])
        self.assertEqual(found.refusal, "gone")

    async def test_answers(self) -> None:
        """
        A player's first answer counts; nobody answers for others. Not before everybody
        has said yes the match is made.
        """
        store = await self.filled(ANN, BOB)
        asked = prematch(entry(ANN, 1.0), entry(BOB, 1.0))
        await store.propose(asked)
        self.assertIsNone(await store.answer("p1", "cat", True))
        self.assertIsNone(await store.answer("p2", "ann", True))
        after = await store.answer("p1", "ann", True)
        self.assertEqual(after.accepted, {"ann"})
        after = await store.answer("p1", "ann", False)
        self.assertEqual((after.accepted, after.declined), ({"ann"}, frozenset()))
        ids, one = ["e-ann", "e-bob"], plan("m1", ANN, BOB)
        self.assertEqual((await store.start(one, ids, "p1")).refusal, "gone")
        self.assertTrue((await store.answer("p1", "bob", True)).is_accepted)
        self.assertTrue((await store.expire("p1", 1000.0)).is_accepted)
        for wrong, of in ((ids, "p2"), (ids[:1], "p1"), ([*ids, "e-cat"], "p1")):
            self.assertEqual((await store.start(one, wrong, of)).refusal, "gone")
        self.assertEqual((await store.enqueue(entry(ANN, 1.0))).refusal, "")
        self.assertEqual(await store.start(one, ids, "p1"), Started())
        other = plan("m2", ANN, BOB)
        self.assertEqual((await store.start(other, ids, "p1")).refusal, "playing")
        self.assertIsNone(await store.expire("p1", None))

    async def test_declined(self) -> None:
        """
        One no puts all others back at their old places at once, those too who did not
        answer yet.
        """
        store = await self.filled(ANN, BOB, CAT, DAN)
        three = [entry(player, 1.0) for player in (ANN, BOB, CAT)]
        await store.propose(prematch(*three))
        self.assertIsNone(await store.expire("p1", 99.0))
        await store.answer("p1", "cat", True)
        after = await store.answer("p1", "bob", False)
        self.assertEqual((after.accepted, after.declined), ({"cat"}, {"bob"}))
        self.assertIsNone(await store.answer("p1", "ann", False))
        self.assertEqual(await self.oldest(store), ["Ann", "Cat", "Dan"])
        self.assertEqual(await self.entry_of(store, "bob"), "")
        self.assertIsNone((await store.of_player("ann")).prematch)

    async def test_silence(self) -> None:
        """
        Those who do not answer in time leave the queue, with their whole party.
        """
        store = await self.filled(ANN, DAN)
        await self.paired(store, BOB, CAT)
        waits = together("p1", 1.0, BOB, CAT)
        await store.propose(prematch(entry(ANN, 1.0), waits))
        self.assertEqual(await self.state(store), "prematch")
        await store.answer("p1", "ann", True)
        await store.answer("p1", "cat", True)
        after = await store.expire("p1", 100.0)
        self.assertEqual(after.leavers(100.0), {"bob"})
        self.assertIsNone(await store.expire("p1", 100.0))
        self.assertEqual(await self.oldest(store), ["Ann", "Dan"])
        self.assertEqual(await self.entry_of(store, "cat"), "")
        self.assertEqual(await self.state(store), "idle")

    async def test_away_meanwhile(self) -> None:
        """
        A player who was disconnected during a prematch is suspended when it is over.
        """
        store = await self.filled(ANN, BOB, CAT)
        three = [entry(player, 1.0) for player in (ANN, BOB, CAT)]
        await store.propose(prematch(*three))
        for entry_id in ("e-ann", "e-bob"):
            self.assertTrue(await store.suspend(entry_id, True))
        self.assertTrue(await store.suspend("e-bob", False))
        await store.expire("p1", None)
        self.assertEqual(await self.oldest(store), ["Bob", "Cat"])
        self.assertEqual(await self.place(store, "e-ann"), 1)
        self.assertEqual((await store.counts()).suspended, 1)

    async def test_give_back(self) -> None:
        """
        A match that cannot be made gives everybody the old place.
        """
        store = await self.filled(ANN, BOB, CAT, DAN)
        asked = prematch(*(entry(player, 1.0) for player in (BOB, CAT, DAN)))
        await store.propose(asked)
        self.assertEqual(await store.expire("p1", None), asked)
        self.assertIsNone(await store.expire("p1", None))
        self.assertEqual(await self.oldest(store), ["Ann", "Bob", "Cat", "Dan"])

    async def test_leave(self) -> None:
        """
        Who leaves instead of answering ends the prematch; the others wait again.
        """
        store = await self.filled(ANN, BOB)
        asked = prematch(entry(ANN, 1.0), entry(BOB, 1.0))
        await store.propose(asked)
        self.assertEqual(await store.leave("bob"), Left(entry(BOB, 1.0), asked))
        self.assertIsNone(await store.leave("bob"))
        self.assertEqual(await self.oldest(store), ["Ann"])
        self.assertIsNone((await store.of_player("ann")).prematch)

    async def test_declines(self) -> None:
        """
        Declines are counted until they are forgotten.
        """
        store = self.make_store()
        self.assertEqual(list(await store.declines([])), [])
        self.assertEqual(await store.count_decline("ann", 10.0, 100.0), 1)
        self.assertEqual(await store.count_decline("ann", 20.0, 20.5), 2)
        self.assertEqual(
            list(await store.declines(["ann", "bob"])), [(2, 20.0), (0, 0.0)]
        )
        await self.pass_time(0.6)
        self.assertEqual(await store.count_decline("bob", 120.0, 210.0), 1)
        self.assertEqual(
            list(await store.declines(["ann", "bob"])), [(0, 0.0), (1, 120.0)]
        )


class PartyContract(LobbyCase):
    """Coming together."""

    async def test_one_party_a_player(self) -> None:
        """
        A player is in one party at most, and in none that waits alone.
        """
        store = self.make_store()
        self.assertTrue(await store.open(party("p1", ANN, BOB)))
        self.assertFalse(await store.open(party("p1", CAT)))
        self.assertFalse(await store.open(party("p2", CAT, BOB)))
        self.assertIsNone((await store.of_player("cat")).party)
        self.assertTrue(await store.open(party("p2", CAT)))
        await self.add(store, entry(DAN, 1.0))
        self.assertFalse(await store.open(party("p3", DAN)))
        for other in (ANN, DAN):
            change = await store.change(party("p2", CAT, other, version=2))
            self.assertFalse(change.is_done)
        self.assertEqual((await store.of_player("bob")).party.party_id, "p1")
        self.assertEqual((await store.find("p2")).player_ids, ("cat",))

    async def test_changes_in_turn(self) -> None:
        """
        Of two changes to one version one counts; a member who is gone is free again.
        """
        store = self.make_store()
        await store.open(party("p1", ANN, BOB))
        for after, is_done in (
            (party("p1", ANN, version=3), False),
            (party("p1", ANN, version=2), True),
            (party("p1", ANN, CAT, version=2), False),
            (party("p9", CAT, version=2), False),
        ):
            self.assertEqual(await store.change(after), PartyChange(is_done))
        self.assertIsNone((await store.of_player("bob")).party)
        self.assertTrue(await store.open(party("p2", BOB)))

    async def test_everything_is_kept(self) -> None:
        """
        A party comes back as it was given.
        """
        store = self.make_store()
        members = (PartyMember(ANN, "192.0.2.1", b'{"hat":1}', True), PartyMember(BOB))
        kept = Party(
            "p1",
            members,
            "bob",
            game="maze",
            options=b'{"rows":3}',
            is_open=True,
            token_hash="t",
            password_hash="h",
            size=4,
            maker="192.0.2.9",
            invited=("cat",),
            banned=("dan",),
            version=7,
        )
        await store.open(kept)
        self.assertEqual(await store.find("p1"), kept)
        self.assertEqual((await store.of_player("bob")).party, kept)

    async def test_closed(self) -> None:
        """
        A party that is closed is gone, unless somebody changed it first.
        """
        store = self.make_store()
        await store.open(party("p1", ANN))
        for version, is_done in ((2, False), (1, True), (1, False)):
            self.assertEqual(await store.close("p1", version), PartyChange(is_done))
        self.assertIsNone(await store.find("p1"))
        self.assertIsNone((await store.of_player("ann")).party)

    async def ids(
        self, store: Any, game: str | None = None, most: int = 9
    ) -> list[str]:
        return [one.party_id for one in await store.listed(game, most)]

    async def test_listed(self) -> None:
        """
        Open parties that somebody could join are listed, the newest first.
        """
        store = self.make_store()
        await store.open(party("p2", BOB, is_open=True, game="duel"))
        await store.open(party("p3", CAT))
        full = party("p4", DAN, is_open=True, size=1)
        await store.open(full)
        self.assertEqual(await self.ids(store), ["p2"])
        await store.change(attrs.evolve(full, size=2, version=2))
        self.assertEqual(await self.ids(store), ["p4", "p2"])
        self.assertEqual(await self.ids(store, most=1), ["p4"])
        self.assertEqual(await self.ids(store, "duel"), ["p2"])
        await store.change(party("p2", BOB, is_open=True, game="maze", version=2))
        self.assertEqual(await self.ids(store, "duel"), [])
        self.assertEqual(await self.ids(store, "maze"), ["p2"])
        await store.close("p4", 2)
        self.assertEqual(await self.ids(store), ["p2"])

    async def test_follows_its_entry(self) -> None:
        """
        A party does what its entry does, from the same step on: it waits, is asked,
        plays, and is idle again; then nobody is ready, and it is listed again.
        """
        store = await self.filled(CAT)
        members = (PartyMember(ANN, is_ready=True), PartyMember(BOB))
        one = Party("p1", members, "ann", is_open=True, game="maze")
        await store.open(one)
        waits = attrs.evolve(one, state="in_queue", entry_id="e-p1", version=2)
        its = together("p1", 2.0, ANN, BOB)
        self.assertEqual((await store.enqueue(its, waits)).place, 2)
        self.assertEqual((await store.enqueue(its, waits)).place, 2)
        self.assertEqual(await store.find("p1"), waits)
        self.assertEqual(await self.ids(store), [])
        asked = prematch(its, entry(CAT, 1.0))
        await store.propose(asked)
        self.assertEqual(await self.state(store), "prematch")
        await store.expire("p1", None)
        self.assertEqual(await self.state(store), "in_queue")
        await store.propose(asked)
        await self.all_say_yes(store, asked)
        await store.start(plan("m1", ANN, BOB, CAT), ["e-p1", "e-cat"], "p1")
        self.assertEqual(await self.state(store), "in_game")
        counts = await store.counts()
        self.assertEqual((dict(counts.parties), counts.since), ({"in_game": 1}, None))
        await store.end(MatchEnd("m1", "finished"), self.now + 60)
        found = await store.find("p1")
        self.assertEqual((found.state, found.entry_id), ("idle", ""))
        self.assertFalse(any(member.is_ready for member in found.members))
        self.assertGreater(found.version, 6)
        self.assertEqual(await self.ids(store, "maze"), ["p1"])
        ready = attrs.evolve(one, version=found.version + 1)
        self.assertTrue((await store.change(ready)).is_done)
        self.assertEqual(await store.find("p1"), ready)

    async def test_changed_before_it_queues(self) -> None:
        """
        A party that lost or got a member meanwhile does not wait.
        """
        store = self.make_store()
        one = party("p1", ANN, BOB)
        await store.open(one)
        await store.change(party("p1", ANN, version=2))
        waits = attrs.evolve(one, state="in_queue", entry_id="e-p1", version=2)
        found = await store.enqueue(together("p1", 1.0, ANN, BOB), waits)
        self.assertEqual(found.refusal, "changed")
        self.assertEqual(await self.state(store), "idle")

    async def test_a_member_goes(self) -> None:
        """
        A party that waits, and loses a member, waits no more, in the same step; if it
        was asked, the others of its prematch wait again.
        """
        for is_asked in (False, True):
            for goes in ("change", "close"):
                store = await self.filled(CAT)
                waits = await self.paired(store, ANN, BOB)
                its, asked = together("p1", 1.0, ANN, BOB), None
                if is_asked:
                    asked = prematch(its, entry(CAT, 1.0), prematch_id=f"q-{goes}")
                    await store.propose(asked)
                now = await store.find("p1")
                after = attrs.evolve(waits.in_state("idle"), members=waits.members[:1])
                after = attrs.evolve(after, version=now.version + 1)
                found = await (
                    store.change(after)
                    if goes == "change"
                    else store.close("p1", now.version)
                )
                self.assertEqual(found, PartyChange(True, Left(its, asked)))
                self.assertEqual(await self.oldest(store), ["Cat"])
                expected = after if goes == "change" else None
                self.assertEqual(await store.find("p1"), expected)
                await self.clear(store, "cat", "ann")

    async def clear(self, store: Any, *player_ids: str) -> None:
        """Let these players be nowhere."""
        for player_id in player_ids:
            await store.leave(player_id)
            its = (await store.of_player(player_id)).party
            if its is not None:
                await store.close(its.party_id, its.version)

    async def test_leave_for_a_party(self) -> None:
        """
        Whoever of a party cancels, the party is idle, and may queue again.
        """
        store = self.make_store()
        await self.paired(store, ANN, BOB)
        left = await store.leave("bob")
        self.assertEqual(left.entry.party_id, "p1")
        self.assertEqual(await self.state(store), "idle")
        self.assertEqual(await self.entry_of(store, "ann"), "")


class MatchContract(LobbyCase):
    """Playing."""

    async def test_one_match_a_player(self) -> None:
        """
        Nobody can be in two matches, or twice in one, and a refused match leaves no
        trace; the same match, repeated, is there.
        """
        store = self.make_store()
        for _ in range(2):
            self.assertEqual(await store.start(plan("m1", ANN, BOB)), Started())
        found = await store.start(plan("m2", CAT, BOB))
        self.assertEqual(found, Started("playing", ("bob",)))
        twice = await store.start(plan("m3", DAN, DAN))
        self.assertEqual(twice.refusal, "playing")
        for player_id in ("cat", "dan"):
            self.assertIsNone(await self.match_of(store, player_id))
        self.assertEqual(
            await self.match_of(store, "bob"), (plan("m1", ANN, BOB), None)
        )

    async def test_who_plays_does_not_wait(self) -> None:
        """
        A match takes its entries out of the queue, all or none.
        """
        store = await self.filled(ANN, BOB, CAT)
        ids = ["e-ann", "e-bob"]
        for wrong in (["e-ann", "e-dan"], ["e-ann", "e-ann"]):
            found = await store.start(plan("m1", ANN, BOB), wrong)
            self.assertEqual(found.refusal, "gone")
        self.assertEqual(await self.oldest(store), ["Ann", "Bob", "Cat"])
        await store.start(plan("m1", ANN, BOB), ids)
        self.assertEqual(await self.oldest(store), ["Cat"])
        self.assertEqual(await self.entry_of(store, "ann"), "")
        self.assertEqual(await self.place(store, "e-ann"), 0)
        self.assertFalse(await store.suspend("e-ann", True))
        for ready in (True, False):
            self.assertIsNone(await store.leave("ann", ready=ready))
        self.assertEqual(await store.waiting("maze", b"{}"), Waiting(1, 1, 1.0))

    async def test_from_outside(self) -> None:
        """
        An outside matchmaker's match takes whatever its players wait with out, whole
        parties, also out of a prematch, whose others wait again.
        """
        store = await self.filled(CAT, DAN)
        await self.paired(store, ANN, BOB)
        asked = prematch(entry(CAT, 1.0), entry(DAN, 1.0), prematch_id="q")
        await store.propose(asked)
        found = await store.start(plan("m1", BOB, CAT))
        its = together("p1", 1.0, ANN, BOB)
        self.assertEqual(found.left, (Left(its), Left(entry(CAT, 1.0), asked)))
        self.assertEqual(await self.oldest(store), ["Dan"])
        self.assertEqual(await self.state(store), "idle")
        self.assertEqual(await self.entry_of(store, "ann"), "")

    async def test_place(self) -> None:
        """
        Where a match is played is known to those who come back, also at the node that
        goes on with it.
        """
        store, one = self.make_store(), plan("m1", ANN, BOB)
        await store.start(one)
        self.assertTrue(await store.placed("m1", PLACE))
        self.assertEqual(await self.match_of(store, "ann"), (one, PLACE))
        self.assertFalse(await store.placed("m2", PLACE))
        other = attrs.evolve(PLACE, port=46001)
        self.assertTrue(await store.adopt(one, other))
        self.assertEqual(await self.match_of(store, "ann"), (one, other))
        self.assertEqual(await store.owner("m1"), "")
        self.assertIsNone(await store.owner("m2"))
        await store.end(MatchEnd("m1", "finished"), self.now + 60)
        self.assertIsNone(await self.match_of(store, "ann"))
        self.assertFalse(await store.adopt(one, other))

    async def test_put_back(self) -> None:
        """
        Entries of a match that does not happen wait again at their old places; not one
        whose player has found something else, nor those who are not to come back.
        """
        store = await self.filled(ANN, BOB, CAT, DAN)
        ids = ["e-ann", "e-bob", "e-cat"]
        await store.start(plan("m1", ANN, BOB, CAT), ids)
        await store.release("m1", "bob")
        await self.add(store, QueueEntry("x", (BOB,), "maze", 9.0))
        self.assertTrue(await store.end(MatchEnd("m1", "void"), self.now + 60, ids[:2]))
        self.assertFalse(await store.end(MatchEnd("m1", "void"), self.now + 60, ids))
        await self.resumed(store, "e-ann")
        self.assertEqual(await self.oldest(store), ["Ann", "Dan", "Bob"])
        for player_id, expected in (("ann", "e-ann"), ("bob", "x"), ("cat", "")):
            self.assertEqual(await self.entry_of(store, player_id), expected)

    async def resumed(self, store: Any, entry_id: str) -> None:
        """Its players are here, which a store with nodes could not know."""
        self.assertTrue(await store.suspend(entry_id, False))

    async def test_put_back_a_party(self) -> None:
        """
        A party whose match does not happen waits again, if it is as it was.
        """
        for has_changed in (False, True):
            store = self.make_store()
            await self.paired(store, ANN, BOB)
            await store.start(plan("m1", ANN, BOB), ["e-p1"])
            if has_changed:
                now = await store.find("p1")
                after = attrs.evolve(
                    now, members=now.members[:1], version=now.version + 1
                )
                await store.change(after)
            await store.end(MatchEnd("m1", "void"), self.now + 60, ["e-p1"])
            expected = ("idle", "") if has_changed else ("in_queue", "e-p1")
            self.assertEqual(await self.state(store), expected[0])
            self.assertEqual(await self.entry_of(store, "ann"), expected[1])
            await store.leave("ann")
            await store.close("p1", (await store.find("p1")).version)

    async def test_end(self) -> None:
        """
        When a match is over its players are free and can learn how it ended, for a
        while; only the latest end can be read, for its full time.
        """
        store = self.make_store()
        await store.start(plan("m1", ANN, BOB))
        end = MatchEnd("m1", "finished", {"round": 1, "places": [[0], [1]]}, (0, 1))
        self.assertTrue(await store.end(end, self.now + 60))
        self.assertIsNone(await self.match_of(store, "ann"))
        self.assertEqual((await store.of_player("ann")).ended, end)
        self.assertFalse(await store.placed("m1", PLACE))
        self.assertIsNone(await store.owner("m1"))
        self.now += 50
        await store.start(plan("m2", ANN, CAT))
        later = MatchEnd("m2", "lost")
        await store.end(later, self.now + 60)
        self.now += 50
        self.assertEqual((await store.of_player("ann")).ended, later)
        self.assertIsNone((await store.of_player("bob")).ended)

    async def test_release(self) -> None:
        """
        A player who left for good may play another match, and is sent only that one; a
        party of which nobody is left in the match is idle.
        """
        store = self.make_store()
        await self.paired(store, ANN, BOB)
        await store.start(plan("m1", ANN, BOB, CAT), ["e-p1"])
        for player_id, state in (("ann", "in_game"), ("bob", "idle")):
            self.assertTrue(await store.release("m1", player_id))
            self.assertFalse(await store.release("m1", player_id))
            self.assertEqual(await self.state(store), state)
        self.assertIsNone(await self.match_of(store, "ann"))
        self.assertEqual(await store.start(plan("m2", ANN, DAN)), Started())
        await store.end(MatchEnd("m1", "finished"), self.now + 60)
        self.assertIsNone((await store.of_player("ann")).ended)
        self.assertEqual(
            await self.match_of(store, "ann"), (plan("m2", ANN, DAN), None)
        )

    async def test_restore(self) -> None:
        """
        A match that the store has lost is there again, with its place, for those who
        have not left it; and the same, if that is repeated.
        """
        store, one = self.make_store(), plan("m1", ANN, BOB, CAT)
        for _ in range(2):
            self.assertTrue(await store.restore(one, PLACE, ["ann", "bob"]))
        for player_id, found in (("ann", (one, PLACE)), ("cat", None)):
            self.assertEqual(await self.match_of(store, player_id), found)
        self.assertEqual(await store.owner("m1"), "")
        self.assertTrue(await store.release("m1", "ann"))
        self.assertTrue(await store.restore(one, PLACE, ["bob"]))
        self.assertIsNone(await self.match_of(store, "ann"))
        # She has another match, and is in this one again when that is over.
        await store.start(plan("m2", ANN))
        await store.restore(one, PLACE, ["ann", "bob"])
        await store.end(MatchEnd("m2", "void"), self.now + 60)
        await store.restore(one, PLACE, ["ann", "bob"])
        self.assertEqual(await self.match_of(store, "ann"), (one, PLACE))
        await store.release("m1", "ann")
        end = MatchEnd("m1", "finished")
        self.assertTrue(await store.end(end, self.now + 60))
        self.assertEqual((await store.of_player("bob")).ended, end)
        self.assertEqual((await store.of_player("ann")).ended.match_id, "m2")

    async def test_restore_before_waiting(self) -> None:
        """
        Who plays does not wait, whatever the store has: a match that its node records
        anew takes its players' entries out, and their party plays.
        """
        store = await self.filled(CAT, DAN)
        await self.paired(store, ANN, BOB)
        asked = prematch(entry(CAT, 1.0), entry(DAN, 1.0), prematch_id="q")
        await store.propose(asked)
        one = plan("m1", ANN, BOB, CAT)
        players = ["ann", "bob", "cat"]
        self.assertTrue(await store.restore(one, None, players, ["e-p1"]))
        self.assertEqual(await self.oldest(store), ["Dan"])
        self.assertEqual(await self.state(store), "in_game")
        self.assertEqual(await self.match_of(store, "cat"), (one, None))
        await store.end(MatchEnd("m1", "void"), self.now + 60, ["e-p1"])
        self.assertEqual(await self.state(store), "in_queue")

    async def test_restore_is_too_late(self) -> None:
        """
        A player who has another match by now stays there, whatever becomes of the first
        one; and a match that is over is not brought back.
        """
        store = self.make_store()
        await store.start(plan("m2", ANN, CAT))
        first, second = plan("m1", ANN, BOB), (plan("m2", ANN, CAT), None)
        self.assertTrue(await store.restore(first, PLACE, ["ann", "bob"]))
        self.assertEqual(await self.match_of(store, "ann"), second)
        self.assertEqual(await self.match_of(store, "bob"), (first, PLACE))
        self.assertTrue(await store.end(MatchEnd("m1", "finished"), self.now + 60))
        self.assertEqual(await self.match_of(store, "ann"), second)
        self.assertFalse(await store.restore(first, PLACE, ["ann", "bob"]))
        self.assertIsNone(await self.match_of(store, "bob"))

    async def test_own_matches(self) -> None:
        """
        A node finds the matches that the store has for it.
        """
        store = await self.filled(ANN)
        await store.start(plan("m1", ANN, BOB), ["e-ann"])
        (found,) = await store.matches_of("", 9)
        self.assertEqual(
            (found.plan, found.is_placed, found.entry_ids),
            (plan("m1", ANN, BOB), False, ("e-ann",)),
        )
        await store.placed("m1", PLACE)
        (found,) = await store.matches_of("", 9)
        self.assertTrue(found.is_placed)
        await store.end(MatchEnd("m1", "finished"), self.now + 60)
        self.assertEqual(list(await store.matches_of("", 9)), [])


class LobbyStoreContract(QueueContract, PrematchContract, PartyContract, MatchContract):
    """`vinom.store.interfaces.ILobbyStore`; `make_store` gives a store, `self.now`."""
