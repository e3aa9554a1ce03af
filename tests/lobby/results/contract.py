"""What every store of results does; mixed into one TestCase per store."""

from __future__ import annotations

from typing import Any

from vinom.base.messages.results import decode_result, encode_result
from vinom.base.model import KeptResult, Result, ResultSeat

NOW = 1_763_886_000.0


def result(match_id: str, round: int = 1, at: float = NOW, **facts: Any) -> Result:
    given: dict[str, Any] = {
        "game": "maze",
        "options": b'{"size":"small"}',
        "seats": (ResultSeat("ann", "Ann", 0), ResultSeat("", "bot 2", 1)),
        "places": ((0,), (1,)),
        "scores": (12, 3.5),
        "reason": "finished",
        "recording": f"{match_id}.vinomrec",
    }
    return Result(match_id=match_id, round=round, at=at, **{**given, **facts})


class ResultStoreContract:
    """
    `vinom.lobby.results.interfaces.IResultStore`.

    `make_store` makes one that keeps *most* results for *most_age* seconds, and whose
    clock is ``self.now``, seconds since the Unix epoch.
    """

    now = NOW

    async def filled(self, *results: Result, **bounds: Any) -> Any:
        store = self.make_store(**bounds)
        for one in results:
            await store.add(one, True)
        return store

    async def ids(self, store: Any, cursor: str = "", most: int = 100) -> list[str]:
        return [kept.result.result_id for kept in await store.after(cursor, most)]

    async def taken(self, store: Any, now: float, most: int = 100) -> list[KeptResult]:
        found: list[KeptResult] = list(await store.take(now, now + 10.0, most))
        return found

    async def taken_ids(self, store: Any, now: float, most: int = 100) -> list[str]:
        found = await self.taken(store, now, most)
        return [kept.result.result_id for kept in found]

    async def test_kept(self) -> None:
        """
        A result is read as it was noted, whatever it contains.
        """
        odd = result(
            "r-\N{SNOWMAN}",
            0,
            seats=(ResultSeat("p" * 64, '"\n\\', None),),
            places=(),
            scores=(None,),
            reason="lost",
            recording="",
        )
        store = self.make_store()
        for one in (odd, result("m1")):
            cursor = await store.add(one, False)
            kept = (await store.after("", 100))[-1]
            self.assertEqual(kept, KeptResult(cursor, one))
            self.assertEqual(decode_result(encode_result(one)), one)

    async def test_once_per_round(self) -> None:
        """
        The same round is kept once, and as it was noted first.
        """
        store = self.make_store()
        first = await store.add(result("m1"), True)
        self.assertNotEqual(first, "")
        self.assertEqual(await store.add(result("m1", scores=(9, 9)), True), "")
        self.assertNotEqual(await store.add(result("m1", 2), True), "")
        (kept, _) = await store.after("", 100)
        self.assertEqual(kept.result.scores, (12, 3.5))
        self.assertEqual(await self.ids(store), ["m1:1", "m1:2"])

    async def test_cursors(self) -> None:
        """
        A reader who asks on with the last cursor gets each result once, in order, also
        if many came in one millisecond or the clock was set back.
        """
        store = self.make_store()
        names = [f"m{number}" for number in range(25)]
        for number, name in enumerate(names):
            at = NOW + (0.0, 0.0, 5.0, 2.0)[number % 4]
            await store.add(result(name, at=at), False)
        found: list[str] = []
        cursor = ""
        while page := await store.after(cursor, 7):
            self.assertLessEqual(len(page), 7)
            found += [kept.result.match_id for kept in page]
            cursor = page[-1].cursor
        self.assertEqual(found, names)
        await store.add(result("late"), False)
        self.assertEqual(await self.ids(store, cursor), ["late:1"])

    async def test_wrong_cursor(self) -> None:
        """
        A text that is no cursor is an error, not an empty list.
        """
        store = await self.filled(result("m1"))
        for wrong in ("x", "1", "-1-0", "1-", "1-0 ", "9" * 40 + "-0"):
            for ask in (store.after, store.dead):
                with self.assertRaises(ValueError):
                    await ask(wrong, 10)

    async def test_bounded_by_number(self) -> None:
        """
        The oldest results give way, and a reader who was away goes on with the rest.
        """
        store = self.make_store(most=3)
        first = await store.add(result("m0"), False)
        for number in range(1, 6):
            await store.add(result(f"m{number}"), False)
        self.assertEqual(await self.ids(store), ["m3:1", "m4:1", "m5:1"])
        self.assertEqual(await self.ids(store, first), ["m3:1", "m4:1", "m5:1"])
        counts = await store.counts()
        self.assertEqual((counts.kept, counts.forgotten), (3, 0))

    async def test_bounded_by_age(self) -> None:
        """
        Old results go, sent or not; those that were not sent are counted.
        """
        store = self.make_store(most_age=60.0)
        await store.add(result("m1"), True)
        await store.add(result("m2", at=NOW + 30.0), True)
        self.now = NOW + 61.0
        self.assertEqual(await self.ids(store), ["m2:1"])
        self.assertEqual(await self.taken_ids(store, self.now), ["m2:1"])
        self.now = NOW + 91.0
        self.assertEqual(await self.taken_ids(store, self.now + 20.0), [])
        counts = await store.counts()
        self.assertEqual((counts.kept, counts.waiting, counts.forgotten), (0, 0, 2))
        self.assertNotEqual(await store.add(result("m3", at=self.now), True), "")

    async def test_taken_once(self) -> None:
        """
        Two senders never have the same result at once; one that is silent for too long
        loses it.
        """
        store = await self.filled(result("m1"), result("m2"))
        self.assertEqual(await self.taken_ids(store, NOW, 1), ["m1:1"])
        self.assertEqual(await self.taken_ids(store, NOW), ["m2:1"])
        self.assertEqual(await self.taken_ids(store, NOW + 9.0), [])
        self.assertEqual(await self.taken_ids(store, NOW + 10.0), ["m1:1", "m2:1"])

    async def test_unwanted_is_not_sent(self) -> None:
        """
        What was noted while nothing was to be sent stays here.
        """
        store = self.make_store()
        await store.add(result("m1"), False)
        self.assertEqual(await self.taken_ids(store, NOW), [])

    async def test_in_order_per_match(self) -> None:
        """
        A match's second round is sent when its first was received; other matches do
        not wait for it.
        """
        store = await self.filled(
            result("m1"), result("m1", 2), result("m2"), result("m1", 3)
        )
        first, other = await self.taken(store, NOW)
        self.assertEqual(
            [first.result.result_id, other.result.result_id], ["m1:1", "m2:1"]
        )
        self.assertTrue(await store.postpone(first.cursor, NOW + 5.0, "it is away"))
        self.assertTrue(await store.sent(other.cursor))
        self.assertEqual(await self.taken_ids(store, NOW + 4.9), [])
        (again,) = await self.taken(store, NOW + 5.0)
        self.assertEqual((again.result.round, again.tries), (1, 1))
        self.assertEqual(again.why, "it is away")
        self.assertTrue(await store.sent(again.cursor))
        (second,) = await self.taken(store, NOW + 5.0)
        self.assertEqual(second.result.round, 2)
        self.assertTrue(await store.sent(second.cursor))
        self.assertEqual(await self.taken_ids(store, NOW + 5.0), ["m1:3"])

    async def test_sent_is_over(self) -> None:
        """
        A result that was received is not sent again, whatever comes late.
        """
        store = await self.filled(result("m1"))
        (kept,) = await self.taken(store, NOW)
        self.assertTrue(await store.sent(kept.cursor))
        self.assertFalse(await store.sent(kept.cursor))
        self.assertFalse(await store.postpone(kept.cursor, NOW, "late"))
        self.assertFalse(await store.bury(kept.cursor, "late"))
        self.assertFalse(await store.revive(kept.cursor))
        self.assertFalse(await store.sent("1-0"))
        self.assertEqual(await self.taken_ids(store, NOW + 100.0), [])
        (kept,) = await store.after("", 10)
        self.assertEqual((kept.state, kept.tries), ("sent", 0))

    async def test_dead(self) -> None:
        """
        A result that was given up is listed, does not keep back its match, and is sent
        again if somebody asks for it.
        """
        store = await self.filled(result("m1"), result("m1", 2), result("m2"))
        first, other = await self.taken(store, NOW)
        self.assertTrue(await store.bury(first.cursor, "it answers 400"))
        self.assertTrue(await store.bury(other.cursor, "it answers 400"))
        dead = await store.dead("", 10)
        self.assertEqual([one.result.result_id for one in dead], ["m1:1", "m2:1"])
        self.assertEqual(
            [(one.state, one.tries, one.why) for one in dead],
            [("dead", 1, "it answers 400")] * 2,
        )
        self.assertEqual(len(await store.dead("", 1)), 1)
        self.assertEqual(len(await store.dead(first.cursor, 10)), 1)
        self.assertEqual(await self.taken_ids(store, NOW), ["m1:2"])
        self.assertTrue(await store.revive(first.cursor))
        self.assertFalse(await store.revive(first.cursor))
        (again,) = await self.taken(store, NOW)
        self.assertEqual((again.result.result_id, again.tries), ("m1:1", 0))
        self.assertEqual(len(await store.dead("", 10)), 1)
        counts = await store.counts()
        self.assertEqual((counts.kept, counts.waiting, counts.dead), (3, 2, 1))
        self.assertEqual(counts.since, NOW)
        self.assertTrue(await store.sent(again.cursor))
        self.assertEqual(await self.taken_ids(store, NOW + 10.0), ["m1:2"])
