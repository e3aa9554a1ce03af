"""What every storage port does; mixed into one TestCase per store."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import attrs

from vinom.base.model import (
    Lasting,
    MatchPlan,
    NodeFacts,
    Placement,
    Player,
    QueueEntry,
    Rating,
    SeatPlan,
)
from vinom.errors import LeaseLost

ANN, BOB, CAT = Player("ann", "Ann"), Player("bob", "Bob"), Player("cat", "Cat")


def entry(player: Player, since: float, **facts: Any) -> QueueEntry:
    return QueueEntry(f"e-{player.player_id}", (player,), "maze", since, **facts)


def plan(match_id: str, *players: Player) -> MatchPlan:
    return MatchPlan(
        match_id, "maze", tuple(SeatPlan(p.player_id, p.name) for p in players), 7
    )


PLACE = Placement("s1", "127.0.0.1", 46000, "CERTIFICATE")


class RatingStoreContract:
    """`vinom.store.interfaces.IRatingStore`; `make_store` gives a store, `self.now`."""

    async def rated(self, store: Any, ratings: str = "duel") -> list[Rating]:
        """Find the ratings of Ann and Bob."""
        found = await store.standings(ratings, ["ann", "bob"])
        return [one.rating for one in found]

    async def rate(
        self, store: Any, round: int = 1, was: float = 25.0, **facts: Any
    ) -> str:
        """Rate a round that Ann won."""
        before = {
            name: Rating() if was == 25.0 else Rating(was, 7.0, round - 1)
            for name in ("ann", "bob")
        }
        after = {"ann": Rating(27.5, 7.0, round), "bob": Rating(22.5, 7.0, round)}
        expires_at = {name: self.now + facts.get("seconds", 100.0) for name in after}
        answer: str = await store.rate(
            facts.get("ratings", "duel"),
            facts.get("match", "m1"),
            round,
            before,
            after,
            expires_at,
        )
        return answer

    async def test_newcomer(self) -> None:
        """
        A player who has not played has the rating of all newcomers.
        """
        store = self.make_store()
        self.assertEqual(await self.rated(store), [Rating(), Rating()])
        self.assertEqual(list(await store.standings("duel", [])), [])

    async def test_once_per_round(self) -> None:
        """
        A round that is reported twice changes ratings once.
        """
        store = self.make_store()
        self.assertEqual(await self.rate(store), "done")
        changed = [Rating(27.5, 7.0, 1), Rating(22.5, 7.0, 1)]
        self.assertEqual(await self.rated(store), changed)
        self.assertEqual(await self.rate(store), "known")
        self.assertEqual(await self.rated(store), changed)
        self.assertEqual(await self.rated(store, "other"), [Rating(), Rating()])

    async def test_stale(self) -> None:
        """
        Ratings that were worked out from older ones change nothing, and the round can
        be rated again.
        """
        store = self.make_store()
        await self.rate(store)
        self.assertEqual(await self.rate(store, match="m2"), "changed")
        changed = [Rating(27.5, 7.0, 1), Rating(22.5, 7.0, 1)]
        self.assertEqual(await self.rated(store), changed)
        after = {"ann": Rating(28.0, 6.5, 2)}
        answer = await store.rate(
            "duel", "m2", 1, {"ann": changed[0]}, after, {"ann": self.now + 9.0}
        )
        self.assertEqual(answer, "done")
        self.assertEqual(await self.rated(store), [after["ann"], changed[1]])

    async def test_forgotten(self) -> None:
        """
        A player who does not play for long is a newcomer again.
        """
        store = self.make_store()
        await self.rate(store, seconds=100.0)
        self.now += 99.0
        self.assertEqual((await self.rated(store))[0].mu, 27.5)
        self.now += 1.0
        self.assertEqual(await self.rated(store), [Rating(), Rating()])

    async def test_met(self) -> None:
        """
        It is known for a while who played against whom: the latest first, and not those
        of one's own team.
        """
        store = self.make_store()
        await store.met([["ann", "bob"], ["cat", "dan"]], self.now + 10.0)
        self.assertEqual(await self.recent(store, "ann"), ("cat", "dan"))
        await store.met([["ann"], ["dan"]], self.now + 20.0)
        self.assertEqual(await self.recent(store, "ann"), ("dan", "cat"))
        self.assertEqual(await self.recent(store, "cat"), ("ann", "bob"))
        for number in range(40):
            await store.met([["ann"], [f"p{number}"]], self.now + 20.0)
        recent = await self.recent(store, "ann")
        self.assertEqual((recent[0], len(recent)), ("p39", 16))
        self.now += 10.0
        self.assertEqual(await self.recent(store, "cat"), ())
        self.assertEqual(len(await self.recent(store, "ann")), 16)

    async def recent(self, store: Any, player_id: str) -> tuple[str, ...]:
        """Find whom a player met."""
        (found,) = await store.standings("", [player_id])
        recent: tuple[str, ...] = found.recent
        return recent


class PlayerStoreContract:
    """`vinom.store.interfaces.IPlayerStore`; `make_store` gives a store, `self.now`."""

    async def test_found_by_hash(self) -> None:
        """
        A player who comes back with its key is the same player.
        """
        store = self.make_store()
        await store.put("hash", ANN, self.now + 10)
        self.assertEqual(await store.find("hash"), ANN)
        self.assertIsNone(await store.find("other"))

    async def test_keys_of_players(self) -> None:
        """
        The newest key of each player is found, of a guest who has done nothing yet too.
        """
        store = self.make_store()
        await store.put("h1", ANN, self.now + 60, origin="guest")
        await store.put("h2", BOB, self.now + 60, origin="guest")
        store.settle("bob")
        await store.put("h3", CAT, self.now + 60)
        await store.put("h4", CAT, self.now + 60)
        found = await store.keys_of(["ann", "bob", "cat", "dan"])
        self.assertEqual(list(found), [("h1", ANN), ("h2", BOB), ("h4", CAT)])
        self.assertEqual(list(await store.keys_of([])), [])

    async def test_put_back(self) -> None:
        """
        A player whom a lost store has known comes back with the same key, for as long
        as any other; one who is known stays as known.
        """
        store = self.make_store()
        self.assertTrue(await store.put("h1", ANN, self.now + 60, "", "lost"))
        self.assertEqual(await store.find("h1"), ANN)
        self.assertEqual(list(await store.keys_of(["ann"])), [("h1", ANN)])
        await store.put("h2", BOB, self.now + 60)
        old = attrs.evolve(BOB, name="old")
        self.assertFalse(await store.put("h2", old, self.now + 600, "", "lost"))
        self.assertEqual(await store.find("h2"), BOB)
        self.now += 60
        self.assertIsNone(await store.find("h1"))

    async def test_use_moves_the_expiry(self) -> None:
        """
        A player who comes back in time is stored for longer; a key that was not used
        for long is worth nothing.
        """
        store = self.make_store()
        await store.put("hash", ANN, self.now + 10)
        self.assertEqual(await store.find("hash", self.now + 30), ANN)
        self.now += 20
        self.assertEqual(await store.find("hash"), ANN)
        self.now += 10
        self.assertIsNone(await store.find("hash"))


def facts(node_id: str, **more: Any) -> NodeFacts:
    return NodeFacts(node_id, {"lobby": "10.0.0.1:4600"}, "1.0", **more)


class NodeStoreContract:
    """
    `vinom.store.interfaces.INodeStore`; `make_store` gives one, `pass_time` lets time
    pass.
    """

    #: Leases that end, and that do not, in a test.
    SHORT, LONG = 0.2, 60.0

    async def listed(self, store: Any) -> tuple[list[str], list[str]]:
        """List the nodes with a lease, and those whose lease is over."""
        running, expired = await store.nodes(), await store.nodes(expired=True)
        return (
            sorted(lease.node.node_id for lease in running),
            sorted(lease.node.node_id for lease in expired),
        )

    async def test_numbers_rise(self) -> None:
        """
        Each lease has a larger number than all before, whose node it ever was.
        """
        store = await self.make_store()
        numbers = [
            await store.register(facts(node_id), self.LONG)
            for node_id in ("a", "b", "a")
        ]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertFalse(await store.renew(facts("a"), numbers[0], self.LONG))
        self.assertTrue(await store.renew(facts("a"), numbers[2], self.LONG))

    async def test_epoch(self) -> None:
        """
        What the store has keeps its name, whichever nodes come.
        """
        store = await self.make_store()
        await store.register(facts("a"), self.LONG)
        before = store.epoch
        self.assertTrue(before)
        await store.register(facts("b"), self.LONG)
        self.assertEqual(store.epoch, before)

    async def test_others_see_a_node(self) -> None:
        """
        A node is listed as it reported itself last.
        """
        store = await self.make_store()
        first = facts("a", token_keys={"k1": "PEM"})
        number = await store.register(first, self.LONG)
        (lease,) = await store.nodes()
        self.assertEqual((lease.node, lease.number), (first, number))
        busier = facts("a", players=7, rooms=2, token_keys={"k1": "PEM"})
        self.assertTrue(await store.renew(busier, number, self.LONG))
        (lease,) = await store.nodes()
        self.assertEqual(lease.node, busier)

    async def test_a_lease_ends(self) -> None:
        """
        A node that does not renew its lease has lost it, and cannot renew it any more.
        """
        store = await self.make_store()
        number = await store.register(facts("a"), self.SHORT)
        await store.register(facts("b"), self.LONG)
        self.assertEqual(await self.listed(store), (["a", "b"], []))
        await self.pass_time(self.SHORT + 0.01)
        self.assertEqual(await self.listed(store), (["b"], ["a"]))
        self.assertFalse(await store.renew(facts("a"), number, self.LONG))
        self.assertEqual(await self.listed(store), (["b"], ["a"]))
        again = await store.register(facts("a"), self.LONG)
        self.assertGreater(again, number)
        self.assertEqual(await self.listed(store), (["a", "b"], []))

    async def test_renewal_counts_from_now(self) -> None:
        """
        A node that renews in time keeps its lease.
        """
        store = await self.make_store()
        number = await store.register(facts("a"), self.SHORT)
        self.assertTrue(await store.renew(facts("a"), number, self.LONG))
        await self.pass_time(self.SHORT + 0.01)
        self.assertEqual(await self.listed(store), (["a"], []))

    async def test_one_removes_a_node(self) -> None:
        """
        Of several nodes that would take over from a dead one, only one gets it.
        """
        store = await self.make_store()
        number = await store.register(facts("a"), self.LONG)
        self.assertFalse(await store.leave("a", number + 1))
        self.assertFalse(await store.leave("b", number))
        self.assertTrue(await store.leave("a", number))
        self.assertFalse(await store.leave("a", number))
        self.assertEqual(await self.listed(store), ([], []))


class Heard:
    """Notes what other nodes send to one."""

    def __init__(self) -> None:
        self.passed_on: list[tuple[list[str], bytes]] = []
        self.closed: list[tuple[str, int]] = []

    def passed(self, player_ids: Sequence[str], message: bytes) -> None:
        self.passed_on.append((list(player_ids), message))

    def replaced(self, player_id: str, epoch: int) -> None:
        self.closed.append((player_id, epoch))

    def listens(self) -> None:
        """Messages come."""


class OnlineStoreContract:
    """
    `vinom.store.interfaces.IOnlineStore`.

    `make_stores` gives those of two nodes, with what each has heard; `settle` waits for
    messages on their way; `kill_second` ends the lease of the second node; `hold` puts
    a player in a queue.
    """

    async def test_second_line_replaces(self) -> None:
        """
        A hello at another node replaces the first, whose node is sent that, and whose
        goodbye changes nothing any more.
        """
        (one, first), (two, second) = await self.make_stores()
        epoch = await one.enter("ann")
        newer = await two.enter("ann")
        self.assertGreater(newer, epoch)
        await self.settle()
        self.assertEqual((first.closed, second.closed), ([("ann", epoch)], []))
        self.assertEqual(await one.leave("ann"), "replaced")
        self.assertEqual(list(await one.elsewhere(["ann"])), ["ann"])
        self.assertIn(await two.leave("ann"), ("free", "held"))
        self.assertEqual(list(await one.elsewhere(["ann"])), [])

    async def test_second_line_to_one_node(self) -> None:
        """
        A second hello at the same node has a newer epoch, and sends nothing.
        """
        (one, first), _ = await self.make_stores()
        epoch = await one.enter("ann")
        newer = await one.enter("ann")
        self.assertGreater(newer, epoch)
        self.assertIn(await one.leave("ann"), ("free", "held"))
        self.assertIn(await one.leave("ann"), ("free", "held"))
        await self.settle()
        self.assertEqual(first.closed, [])

    async def test_send(self) -> None:
        """
        A message reaches the nodes of those who have a line elsewhere, once each.
        """
        (one, first), (two, second) = await self.make_stores()
        for player_id in ("ann", "bob"):
            await two.enter(player_id)
        await one.enter("cat")
        message = b'{"type":"pong"}\n\nmore'
        players = ["ann", "cat", "nobody", "bob"]
        self.assertEqual(await one.send(players, message), 1)
        self.assertEqual(await one.send(["cat"], message), 0)
        await self.settle()
        self.assertEqual(first.passed_on, [])
        self.assertEqual(second.passed_on, [(["ann", "bob"], message)])

    async def test_keep(self) -> None:
        """
        Lines can be recorded again; a newer one at another node stays, and is named.
        """
        (one, _), (two, _) = await self.make_stores()
        ann, bob = await one.enter("ann"), await one.enter("bob")
        await one.leave("ann")
        await two.enter("bob")
        self.assertEqual(list(await one.keep([("ann", ann), ("bob", bob)])), ["bob"])
        self.assertEqual(list(await two.elsewhere(["ann"])), ["ann"])
        self.assertEqual(list(await one.elsewhere(["ann", "bob"])), ["bob"])

    async def test_a_dead_node(self) -> None:
        """
        A line to a node whose lease is over counts for nothing.
        """
        (one, _), (two, _) = await self.make_stores()
        await two.enter("ann")
        self.assertEqual(list(await one.elsewhere(["ann"])), ["ann"])
        await self.kill_second()
        self.assertEqual(list(await one.elsewhere(["ann"])), [])
        self.assertGreater(await one.absence("ann"), 0)

    async def test_absence(self) -> None:
        """
        How long a player has been away counts from the end of the newest line on.
        """
        (one, _), (two, _) = await self.make_stores()
        self.assertEqual(await one.absence("ann"), inf)
        await one.enter("ann")
        self.assertEqual(await two.absence("ann"), 0)
        await two.enter("ann")
        await self.hold("ann")
        await one.leave("ann")
        self.assertEqual(await one.absence("ann"), 0)
        await two.leave("ann")
        first = await one.absence("ann")
        self.assertGreater(first, 0)
        self.assertLess(first, 60)
        self.assertGreater(await two.absence("ann"), first)
        await one.enter("ann")
        self.assertEqual(await two.absence("ann"), 0)


class OwnedStoreContract:
    """
    `vinom.store.interfaces.IOwnedStore`, of any kind.

    ``make_stores`` gives the stores of nodes "n1" and "n2", which have leases,
    ``end_lease`` ends the lease of "n1", and ``renew_lease`` gives it another.

    :ivar kind: of the things, and their machine.
    """

    kind: tuple[str, ...]

    async def test_of_a_node(self) -> None:
        """
        While a node is well nobody else gets what it has, however old that is.
        """
        first, second = await self.make_stores()
        self.assertTrue(await first.put("t1", 1, b"one"))
        self.assertTrue(await first.put("t1", 1, b"\x00two"))
        claim = await second.claim("t1", True)
        self.assertEqual((claim.kind, claim.data), ("owned", b""))
        self.assertGreater(claim.seconds, 0)
        self.assertFalse(await second.put("t1", 1, b"mine"))
        self.assertFalse(await second.release("t1", 1, b"mine"))
        self.assertFalse(await second.remove("t1", 1))
        self.assertEqual(list(await second.left("n1", 9)), [])
        self.assertTrue(await first.remove("t1", 1))
        self.assertTrue(await first.remove("t1", 1))
        self.assertEqual((await second.claim("t1")).kind, "gone")

    async def test_after_the_lease(self) -> None:
        """
        When its node's lease is over the next one goes on from what was kept last, and
        the first can neither change, give up nor remove it, with a new lease either.
        """
        first, second = await self.make_stores()
        await first.put("t1", 1, b"\x00\xff")
        await self.end_lease()
        for late in (
            first.put("t1", 1, b"late"),
            first.release("t1", 1, b"late"),
            first.claim("t1", True),
        ):
            with self.assertRaises(LeaseLost):
                await late
        self.assertEqual(len(await second.left("n1", 9)), 1)
        claim = await second.claim("t1", True)
        self.assertEqual(
            (claim.kind, claim.fence, claim.data), ("adopted", 2, b"\x00\xff")
        )
        self.assertEqual(list(await second.left("n1", 9)), [])
        await self.renew_lease()
        self.assertFalse(await first.put("t1", 1, b"late"))
        self.assertFalse(await first.remove("t1", 1))
        self.assertFalse(await first.release("t1", 1, b"late"))
        self.assertEqual((await first.claim("t1")).kind, "owned")
        self.assertTrue(await second.put("t1", 2, b"next"))
        again = await second.claim("t1")
        self.assertEqual((again.kind, again.fence, again.data), ("adopted", 2, b"next"))

    async def test_over(self) -> None:
        """
        What ended at its next node does not come back: neither by a node that slept,
        nor by one that has an old file.
        """
        first, second = await self.make_stores()
        await first.put("t1", 1, b"one")
        await self.end_lease()
        await second.claim("t1")
        self.assertTrue(await second.remove("t1", 2))
        self.assertFalse(await second.remove("t1", 2))
        await self.renew_lease()
        self.assertFalse(await first.put("t1", 1, b"late"))
        self.assertEqual((await first.claim("t1", gone="n1")).kind, "over")
        self.assertEqual(list(await second.left("", 9)), [])
        claim = await first.claim("t1", True)
        self.assertEqual((claim.kind, claim.fence), ("new", 3))

    async def test_two_ask_at_once(self) -> None:
        """
        Of two nodes that open a thing with the same id only one gets it.
        """
        first, second = await self.make_stores()
        claims = [await one.claim("t1", True) for one in (first, second)]
        self.assertEqual([claim.kind for claim in claims], ["new", "owned"])
        self.assertTrue(await first.put("t1", claims[0].fence, b"one"))

    async def test_two_claim_at_once(self) -> None:
        """
        Of two nodes that ask for what was released one gets it: also if one of them
        knows that the node before is gone, because it has its state directory.
        """
        first, second = await self.make_stores()
        await first.put("t1", 1, b"one")
        await first.release("t1", 1, b"one")
        asked = [one.claim("t1", gone="n0") for one in (second, first, second)]
        claims = [await one for one in asked]
        # Redis may read the connection of either node first.
        kinds = "adopted owned adopted", "owned adopted owned"
        self.assertIn(" ".join(one.kind for one in claims), kinds)
        self.assertEqual({one.fence for one in claims}, {2, 0})

    async def test_restarted(self) -> None:
        """
        A node that was started again in the place of one that was killed need not wait
        for the end of its lease.
        """
        first, second = await self.make_stores()
        await first.put("t1", 1, b"one")
        self.assertEqual((await second.claim("t1", gone="n9")).kind, "owned")
        claim = await second.claim("t1", gone="n1")
        self.assertEqual((claim.kind, claim.fence), ("adopted", 2))
        self.assertFalse(await first.put("t1", 1, b"late"))

    async def test_released(self) -> None:
        """
        What its node released goes on elsewhere at once, as it was then, and the node
        that gave it up can neither change nor give it up again, nor take it back.
        """
        first, second = await self.make_stores()
        await first.put("t1", 1, b"one")
        self.assertTrue(await first.release("t1", 1, b"\x00last"))
        self.assertFalse(await first.put("t1", 1, b"late"))
        claim = await second.claim("t1", True)
        self.assertEqual(
            (claim.kind, claim.fence, claim.data), ("adopted", 2, b"\x00last")
        )
        self.assertFalse(await first.put("t1", 1, b"late"))
        self.assertFalse(await first.release("t1", 1, b"late"))
        self.assertFalse(await first.remove("t1", 1))
        self.assertEqual((await first.claim("t1", True)).kind, "owned")

    async def test_released_at_first(self) -> None:
        """
        What was never kept is kept with its release; and its node may have it back.
        """
        first, _ = await self.make_stores()
        self.assertTrue(await first.release("t1", 1, b"one"))
        claim = await first.claim("t1")
        self.assertEqual((claim.kind, claim.fence, claim.data), ("adopted", 2, b"one"))
        self.assertTrue(await first.put("t1", 2, b"back"))


class RoomStoreContract(OwnedStoreContract):
    """Rooms, with their grace and their endings."""

    kind = ("room",)

    async def test_a_game_that_has_ended(self) -> None:
        """
        Who asks for a room whose game has ended learns why, from any node; a new room
        with its id must be asked for.
        """
        first, second = await self.make_stores()
        await first.put("r1", 1, b"one", 60.0)
        self.assertTrue(await first.remove("r1", 1, "finished"))
        for store in (first, second):
            for reserve in (False, True):
                claim = await store.claim("r1", reserve)
                self.assertEqual((claim.kind, claim.data), ("ended", b"finished"))
        self.assertFalse(await first.put("r1", 1, b"late", 60.0))
        self.assertEqual(list(await second.left("", 10)), [])
        claim = await second.claim("r1", True, True)
        self.assertEqual((claim.kind, claim.fence), ("new", 2))
        self.assertEqual((await second.claim("r1", True)).kind, "new")
        self.assertEqual((await first.claim("r1", True)).kind, "owned")

    async def test_given_up(self) -> None:
        """
        A room that its node has released is no more its own.
        """
        first, _ = await self.make_stores()
        self.assertTrue(await first.release("r1", 1, b"last", 60.0))
        self.assertFalse(await first.release("r1", 1, b"again", 60.0))
        self.assertFalse(await first.remove("r1", 1))

    async def test_released_orphans(self) -> None:
        """
        A room that was released waits for its players for its grace.
        """
        first, second = await self.make_stores()
        await first.release("short", 1, b"one", 0.0)
        await first.release("long", 1, b"two", 1e9)
        await first.put("kept", 1, b"three", 0.0)
        self.assertEqual(list(await second.left("", 10)), [b"short"])
        await second.claim("short")
        self.assertEqual(list(await second.left("", 10)), [])
        await second.remove("short", 2)
        self.assertEqual(list(await second.left("", 10)), [])

    async def test_orphans(self) -> None:
        """
        A room waits for its players for its grace, from the end of its node's lease.
        """
        first, second = await self.make_stores()
        await first.put("short", 1, b"one", 0.0)
        await first.put("long", 1, b"two", 1e9)
        self.assertEqual(list(await second.left("n1", 10)), [])
        await self.end_lease()
        self.assertEqual(list(await second.left("n1", 10)), [b"short"])
        await second.claim("short")
        self.assertEqual(list(await second.left("n1", 10)), [])

    async def test_asleep(self) -> None:
        """
        A room that sleeps is looked after by one node when its deadline has come.
        """
        first, second = await self.make_stores()
        both = Lasting(("ann", "bob"), "192.0.2.1")
        await first.put("due", 1, b"one", 60.0, lasting=both)
        self.assertTrue(await first.release("due", 1, b"one", 0.0, both))
        self.assertTrue(await first.release("later", 1, b"two", 1e6, both))
        self.assertEqual(list(await second.left("", 10)), [b"due"])
        self.assertEqual(list(await first.left("", 10)), [])
        claim = await second.claim("due")
        self.assertEqual((claim.kind, claim.data), ("adopted", b"one"))
        self.assertTrue(0.0 <= claim.age < 10.0)
        claim = await first.claim("later")
        self.assertEqual((claim.kind, claim.fence, claim.data), ("adopted", 2, b"two"))
        self.assertEqual(list(await second.left("n1", 10)), [])

    async def test_many_awake(self) -> None:
        """
        A deadline is found at once, however many rooms are awake at other nodes, whose
        leases were renewed.
        """
        first, second = await self.make_stores()
        one = Lasting(("ann",), "192.0.2.1")
        for number in range(100):
            await first.put(f"r{number}", 1, b"one", lasting=one)
        await second.release("due", 1, b"two", 0.0, one)
        await self.renew_late()
        self.assertEqual(list(await second.left("", 25)), [b"due"])

    async def test_given_back(self) -> None:
        """
        A node that cannot read a room gives it back as it was: it has its players, and
        has slept for as long.
        """
        first, second = await self.make_stores()
        await first.release("r1", 1, b"one", 9.0, Lasting(("ann",), "192.0.2.1", 50.0))
        fence = (await second.claim("r1")).fence
        self.assertTrue(await second.release("r1", fence, b"one", 0.0))
        found = await first.seats_of("ann", "192.0.2.1")
        self.assertEqual((found.opened, [*found.rooms]), (1, ["r1"]))
        self.assertEqual(list(await first.left("", 9)), [b"r1"])
        claim = await first.claim("r1")
        self.assertEqual((claim.kind, claim.data), ("adopted", b"one"))
        self.assertTrue(claim.age is not None and 50.0 <= claim.age < 60.0)

    async def test_listed_asleep(self) -> None:
        """
        Operators find the rooms that sleep, the one that is due next first.
        """
        first, second = await self.make_stores()
        one = Lasting(("ann",), "192.0.2.1", 50.0)
        await first.put("awake", 1, b"zero", lasting=one)
        await first.release("later", 1, b"two", 1e6, one)
        await first.release("sooner", 1, b"one", 1e3, one)
        found = (await second.asleep(9)).rooms
        self.assertEqual([*found], ["sooner", "later"])
        data, age = found["later"]
        self.assertEqual((data, 50.0 <= age < 60.0), (b"two", True))
        self.assertEqual([*(await second.asleep(1)).rooms], ["sooner"])

    async def test_seats(self) -> None:
        """
        Players find the rooms in which they have seats, asleep or not, until they have
        left or the room is over; an address has opened them for as long.
        """
        first, second = await self.make_stores()
        await first.put("r1", 1, b"one", lasting=Lasting(("ann", "bob"), "192.0.2.1"))
        await first.release("r2", 1, b"two", 9.0, Lasting(("ann",), "192.0.2.1"))
        await first.put("r3", 1, b"three", 60.0)
        found = await second.seats_of("ann", "192.0.2.1")
        self.assertEqual(found.opened, 2)
        self.assertEqual(
            {room_id: data for room_id, (data, _) in found.rooms.items()},
            {"r1": b"one", "r2": b"two"},
        )
        await first.put("r1", 1, b"more", lasting=Lasting(("bob",), "192.0.2.1"))
        self.assertEqual([*(await second.seats_of("ann")).rooms], ["r2"])
        self.assertEqual([*(await second.seats_of("bob")).rooms], ["r1"])
        await second.claim("r2")
        self.assertEqual([*(await first.seats_of("ann")).rooms], ["r2"])
        await second.remove("r2", 2, "finished")
        await first.remove("r1", 1)
        for player_id in ("ann", "bob"):
            found = await second.seats_of(player_id, "192.0.2.1")
            self.assertEqual((found.rooms, found.opened), ({}, 0))


class ServerStoreContract(OwnedStoreContract):
    """Game servers, which only nodes on their machine find."""

    kind = ("server", "here")

    async def test_machines(self) -> None:
        """
        The next node finds the latest record on its own machine.
        """
        first, second = await self.make_stores()
        await first.put("s1", 1, b"\x00\xff")
        await attrs.evolve(first, machine="there").put("s2", 1, b"far")
        await self.end_lease()
        self.assertEqual(list(await second.left("n1", 9)), [b"\x00\xff"])

    async def test_offer(self) -> None:
        """
        A game server that its node offers goes to the next node at once, and its node
        learns that; until then it may take it back, or see it end.
        """
        first, second = await self.make_stores()
        there = attrs.evolve(second, machine="there")
        for server_id in ("s1", "s2", "s3"):
            data = server_id.encode()
            await first.put(server_id, 1, data)
            self.assertTrue(await first.release(server_id, 1, data))
            self.assertTrue(await first.release(server_id, 1, data))
        self.assertEqual(len(await second.left("", 9)), 3)
        self.assertEqual(len(await second.left("", 2)), 2)
        self.assertEqual(list(await there.left("", 9)), [])
        self.assertFalse(await first.put("s1", 1, b"late"))
        self.assertEqual((await second.claim("s1")).fence, 2)
        self.assertFalse(await first.release("s1", 1, b"late"))
        self.assertEqual((await first.claim("s2")).fence, 2)
        self.assertTrue(await first.put("s2", 2, b"back"))
        self.assertTrue(await first.remove("s3", 1))
        self.assertEqual(list(await second.left("", 9)), [])

    async def test_offered_as_it_is_now(self) -> None:
        """
        What the next node gets is the record as it is when it comes: also if the store
        was away before, or what changed did so after the first offer.
        """
        first, second = await self.make_stores()
        self.assertTrue(await first.release("s1", 1, b"first"))
        self.assertEqual(list(await second.left("", 9)), [b"first"])
        self.assertTrue(await first.release("s1", 1, b"newest"))
        claim = await second.claim("s1")
        self.assertEqual(
            (claim.kind, claim.fence, claim.data), ("adopted", 2, b"newest")
        )
        self.assertFalse(await first.release("s1", 1, b"late"))
