"""What stores of prematches and parties do; mixed into one TestCase per store."""

from __future__ import annotations

from typing import Any

import attrs

from tests.store.contract import ANN, BOB, CAT, entry
from vinom.base.model import Party, PartyMember, Player, Prematch, QueueEntry, Waiting

DAN = Player("dan", "Dan")


def prematch(*entries: QueueEntry, until: float = 100.0, **facts: Any) -> Prematch:
    """Make a prematch of entries."""
    prematch_id = facts.pop("prematch_id", "p1")
    return Prematch(prematch_id, "maze", b"{}", entries, until, **facts)


class PrematchStoreContract:
    """`vinom.store.interfaces.IPrematchStore`; a store is made by `make_store`."""

    async def pass_time(self, seconds: float) -> None:
        """Let time pass for a store that has a clock of its own."""

    async def waiting(self, store: Any) -> list[str]:
        """List the players who can be matched, by place."""
        found = await store.oldest("maze", b"{}", 100)
        return [player.name for one in found for player in one.players]

    async def filled(self, *players: Player, since: float = 1.0) -> Any:
        """Make a store in which these players wait, equally long."""
        store = self.make_store()
        for player in players:
            await store.add(entry(player, since))
        return store

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
        await store.suspend("e-bob")
        both = prematch(entry(ANN, 1.0), entry(BOB, 1.0))
        self.assertFalse(await store.propose(both))
        self.assertIsNone(await store.prematch_of("ann"))
        self.assertEqual(await self.waiting(store), ["Ann"])

    async def test_proposed_entries_do_not_wait(self) -> None:
        """
        Players of a prematch are matched with nobody else, and cannot queue again.
        """
        store = await self.filled(ANN, BOB, CAT)
        proposed = prematch(entry(ANN, 1.0), entry(BOB, 1.0))
        self.assertTrue(await store.propose(proposed))
        self.assertEqual(await self.waiting(store), ["Cat"])
        self.assertEqual(await store.place("e-cat"), 1)
        self.assertEqual(await store.place("e-ann"), 0)
        self.assertEqual(await store.waiting("maze", b"{}"), Waiting(1, 1, 1.0))
        self.assertEqual(await store.prematch_of("bob"), proposed)
        self.assertIsNone(await store.prematch_of("cat"))
        self.assertFalse(await store.remove("e-ann"))
        self.assertFalse(await store.claim(["e-ann"]))
        other = prematch(entry(ANN, 1.0), entry(CAT, 1.0), prematch_id="p2")
        self.assertFalse(await store.propose(other))
        self.assertEqual(await store.add(QueueEntry("x", (BOB,), "maze", 1.0)), 0)
        self.assertEqual((await store.entry_of("ann")).entry_id, "e-ann")

    async def test_teams_are_kept(self) -> None:
        """
        Whoever makes the match, perhaps another node, finds the teams that were dealt.
        """
        store = await self.filled(ANN, BOB)
        dealt = prematch(entry(ANN, 1.0), entry(BOB, 1.0), teams=(1, 0))
        await store.propose(dealt)
        self.assertEqual((await store.prematch_of("bob")).teams, (1, 0))
        after = await store.answer("p1", "ann", True)
        self.assertEqual(after.teams, (1, 0))

    async def test_answers(self) -> None:
        """
        A player's first answer counts; nobody answers for others.
        """
        store = await self.filled(ANN, BOB)
        await store.propose(prematch(entry(ANN, 1.0), entry(BOB, 1.0)))
        self.assertIsNone(await store.answer("p1", "cat", True))
        self.assertIsNone(await store.answer("p2", "ann", True))
        after = await store.answer("p1", "ann", True)
        self.assertEqual(after.accepted, {"ann"})
        after = await store.answer("p1", "ann", False)
        self.assertEqual((after.accepted, after.declined), ({"ann"}, frozenset()))
        self.assertFalse(await store.begin("p1", "n1"))
        self.assertTrue((await store.answer("p1", "bob", True)).is_accepted)

    async def test_begun_once(self) -> None:
        """
        One caller makes the match, of all nodes that see the last yes.
        """
        store = await self.filled(ANN)
        await store.propose(prematch(entry(ANN, 1.0)))
        await store.answer("p1", "ann", True)
        self.assertTrue(await store.begin("p1", "n1"))
        self.assertFalse(await store.begin("p1", "n2"))
        # A node whose first answer was lost asks again.
        self.assertTrue(await store.begin("p1", "n1"))
        self.assertFalse(await store.finish("p1", "n2"))
        self.assertIsNone(await store.give_back("p1", "n2"))
        self.assertIsNone(await store.dissolve("p1", 1000.0))
        after = await store.answer("p1", "ann", False)
        self.assertEqual(after.declined, frozenset())
        self.assertEqual(after.started_by, "n1")
        self.assertTrue(await store.finish("p1", "n1"))
        self.assertFalse(await store.finish("p1", "n1"))
        self.assertFalse(await store.begin("p1", "n1"))
        self.assertIsNone(await store.entry_of("ann"))
        self.assertEqual(await store.add(entry(ANN, 2.0)), 1)

    async def test_declined(self) -> None:
        """
        One no puts all others back at their old places, those too who did not answer
        yet.
        """
        store = await self.filled(ANN, BOB, CAT, DAN)
        three = [entry(player, 1.0) for player in (ANN, BOB, CAT)]
        await store.propose(prematch(*three))
        self.assertIsNone(await store.dissolve("p1", 99.0))
        await store.answer("p1", "cat", True)
        await store.answer("p1", "bob", False)
        self.assertFalse(await store.begin("p1", "n1"))
        after = await store.dissolve("p1", 99.0)
        self.assertEqual((after.accepted, after.declined), ({"cat"}, {"bob"}))
        self.assertIsNone(await store.dissolve("p1", 99.0))
        self.assertEqual(await self.waiting(store), ["Ann", "Cat", "Dan"])
        self.assertIsNone(await store.entry_of("bob"))
        self.assertIsNone(await store.prematch_of("ann"))

    async def test_silence(self) -> None:
        """
        Those who do not answer in time leave the queue, with their whole party.
        """
        store = await self.filled(ANN, DAN)
        party = QueueEntry("e-two", (BOB, CAT), "maze", 1.0)
        await store.add(party)
        await store.propose(prematch(entry(ANN, 1.0), party))
        await store.answer("p1", "ann", True)
        await store.answer("p1", "cat", True)
        after = await store.dissolve("p1", 100.0)
        self.assertEqual(after.leavers(100.0), {"bob"})
        self.assertEqual(await self.waiting(store), ["Ann", "Dan"])
        self.assertIsNone(await store.entry_of("cat"))

    async def test_a_last_yes_in_time(self) -> None:
        """
        Nobody leaves for being late if everybody has said yes.
        """
        store = await self.filled(ANN)
        await store.propose(prematch(entry(ANN, 1.0)))
        await store.answer("p1", "ann", True)
        after = await store.dissolve("p1", 200.0)
        self.assertEqual(after.leavers(200.0), frozenset())
        self.assertEqual(await self.waiting(store), ["Ann"])

    async def test_away_meanwhile(self) -> None:
        """
        A player who was disconnected during a prematch is suspended when it is over.
        """
        store = await self.filled(ANN, BOB, CAT)
        await store.suspend("e-cat")
        await store.resume("e-cat")
        three = [entry(player, 1.0) for player in (ANN, BOB, CAT)]
        await store.propose(prematch(*three))
        self.assertTrue(await store.suspend("e-ann"))
        self.assertTrue(await store.suspend("e-bob"))
        self.assertTrue(await store.resume("e-bob"))
        await store.give_back("p1", "n1")
        self.assertEqual(await self.waiting(store), ["Bob", "Cat"])
        self.assertEqual(await store.place("e-ann"), 1)
        self.assertEqual((await store.counts()).suspended, 1)

    async def test_give_back(self) -> None:
        """
        A match that cannot be made gives everybody the old place; those who cannot play
        are forgotten.
        """
        store = await self.filled(ANN, BOB, CAT, DAN)
        three = [entry(player, 1.0) for player in (BOB, CAT, DAN)]
        await store.propose(prematch(*three, started_by="n1"))
        before = await store.give_back("p1", "n1", ["e-cat"])
        self.assertEqual(
            [one.entry_id for one in before.entries][1:], ["e-cat", "e-dan"]
        )
        self.assertIsNone(await store.give_back("p1", "n1"))
        self.assertEqual(await self.waiting(store), ["Ann", "Bob", "Dan"])
        self.assertIsNone(await store.entry_of("cat"))

    async def test_an_old_place(self) -> None:
        """
        An entry that is put back after its match was made has its old place too.
        """
        store = await self.filled(ANN, BOB, CAT)
        found = await store.oldest("maze", b"{}", 2)
        await store.propose(prematch(*found, started_by="n1"))
        await store.finish("p1", "n1")
        for one in reversed(found):
            await store.add(one)
        self.assertEqual(await self.waiting(store), ["Ann", "Bob", "Cat"])

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


def party(party_id: str, *players: Player, **facts: Any) -> Party:
    """Make a party; the first player is its host."""
    members = tuple(PartyMember(player) for player in players)
    return Party(party_id, members, players[0].player_id, **facts)


class PartyStoreContract:
    """`vinom.store.interfaces.IPartyStore`; a store is made by `make_store`."""

    async def test_one_party_a_player(self) -> None:
        """
        A player is in one party at most.
        """
        store = self.make_store()
        self.assertTrue(await store.open(party("p1", ANN, BOB)))
        self.assertFalse(await store.open(party("p1", CAT)))
        self.assertFalse(await store.open(party("p2", CAT, BOB)))
        self.assertIsNone(await store.party_of("cat"))
        self.assertTrue(await store.open(party("p2", CAT)))
        self.assertFalse(await store.change(party("p2", CAT, ANN, version=2)))
        self.assertEqual((await store.party_of("bob")).party_id, "p1")
        self.assertEqual((await store.find("p2")).player_ids, ("cat",))

    async def test_changes_in_turn(self) -> None:
        """
        Of two changes to one version one counts; a member who is gone is free again.
        """
        store = self.make_store()
        await store.open(party("p1", ANN, BOB))
        self.assertFalse(await store.change(party("p1", ANN, version=3)))
        self.assertTrue(await store.change(party("p1", ANN, version=2)))
        self.assertFalse(await store.change(party("p1", ANN, CAT, version=2)))
        self.assertFalse(await store.change(party("p9", CAT, version=2)))
        self.assertIsNone(await store.party_of("bob"))
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
            state="in_queue",
            entry_id="e",
            version=7,
        )
        await store.open(kept)
        self.assertEqual(await store.find("p1"), kept)

    async def test_closed(self) -> None:
        """
        A party that is closed is gone, unless somebody changed it first.
        """
        store = self.make_store()
        await store.open(party("p1", ANN))
        self.assertFalse(await store.close("p1", 2))
        self.assertTrue(await store.close("p1", 1))
        self.assertFalse(await store.close("p1", 1))
        self.assertIsNone(await store.find("p1"))
        self.assertIsNone(await store.party_of("ann"))

    async def test_listed(self) -> None:
        """
        Open parties that somebody could join are listed, the newest first.
        """
        store = self.make_store()
        await store.open(party("p1", ANN, is_open=True, game="maze"))
        await store.open(party("p2", BOB, is_open=True, game="duel"))
        await store.open(party("p3", CAT))
        full = party("p4", DAN, is_open=True, size=1)
        await store.open(full)

        async def ids(game: str | None = None, most: int = 9) -> list[str]:
            return [one.party_id for one in await store.listed(game, most)]

        self.assertEqual(await ids(), ["p2", "p1"])
        self.assertEqual(await ids(most=1), ["p2"])
        self.assertEqual(await ids("maze"), ["p1"])
        busy = party("p2", BOB, is_open=True, state="in_queue", version=2)
        await store.change(busy)
        self.assertEqual(await ids(), ["p1"])
        await store.change(attrs.evolve(busy, state="idle", version=3))
        await store.change(attrs.evolve(full, size=2, version=2))
        self.assertEqual(await ids(), ["p4", "p2", "p1"])
        await store.close("p1", 1)
        self.assertEqual(await ids(), ["p4", "p2"])

    async def test_counts(self) -> None:
        """
        An operator sees how many parties do what.
        """
        store = self.make_store()
        self.assertEqual(dict(await store.counts()), {})
        await store.open(party("p1", ANN))
        await store.open(party("p2", BOB))
        await store.change(party("p2", BOB, state="in_game", version=2))
        self.assertEqual(dict(await store.counts()), {"idle": 1, "in_game": 1})
        await store.close("p1", 1)
        self.assertEqual(dict(await store.counts()), {"in_game": 1})
