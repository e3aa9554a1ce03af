"""The judge of matchmaking finds each fault, and nothing wrong where there is none."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.support.fairness import Event, Story, Trouble, judge, overtaken

GROUPS = (("ann",), ("bob",), ("cat", "dan"), ("eve", "fay"))


class Told:
    """Write a story."""

    def __init__(self) -> None:
        self.now, self.events = 0.0, list[Event]()
        for player in (player for group in GROUPS for player in group):
            self.received(player, "welcome")

    def at(self, now: float) -> None:
        """Let time pass."""
        self.now = now

    def sent(self, player: str, type: str, **data: Any) -> None:
        """A player sends a message."""
        self.events.append(Event(self.now, player, "sent", type, data))

    def received(self, player: str, type: str, **data: Any) -> None:
        """A player receives a message."""
        self.events.append(Event(self.now, player, "received", type, data))

    def refused(self, player: str, type: str, code: str) -> None:
        """A player's request is refused."""
        data = {"code": code}
        self.events.append(Event(self.now, player, "received", type, data, True))

    def closed(self, player: str, way: Any = "closed") -> None:
        """A player's line ends."""
        self.events.append(Event(self.now, player, way))

    def queue(self, *group: str) -> None:
        """A group queues."""
        self.sent(group[0], "queue")
        for player in group:
            self.received(player, "queue_status", state="waiting")

    def ask(self, name: str, *players: str) -> None:
        """A match is proposed."""
        who = [{"player_id": player} for player in players]
        for player in players:
            self.received(player, "prematch", id=name, players=who, seconds=3.0)

    def accept(self, name: str, *players: str) -> None:
        """These accept."""
        for player in players:
            self.sent(player, "accept", prematch_id=name)
            self.received(
                player, "prematch_update", id=name, state="open", accepted=[player]
            )

    def dissolve(self, name: str, player: str, accepted: list[str]) -> None:
        """A player is sent that a prematch is over."""
        data = {"id": name, "state": "dissolved", "accepted": accepted}
        self.received(player, "prematch_update", **data)

    def find(self, name: str, *players: str, told: Any = None) -> None:
        """A match is made."""
        seats = [
            {"seat": seat, "player_id": player} for seat, player in enumerate(players)
        ]
        for seat, player in enumerate(players):
            if told is None or player in told:
                self.received(
                    player, "match_found", match_id=name, players=seats, seat=seat
                )

    def end(self, name: str, *players: str) -> None:
        """A match is over."""
        for player in players:
            self.received(player, "match_ended", match_id=name)

    def hello(self, *players: str, news: Any = ()) -> None:
        """Players come back, and are sent these types."""
        for player in players:
            self.received(player, "welcome")
            for type, data in news:
                self.received(player, type, **data)
            self.received(player, "pong")

    def finish(self, **changes: Any) -> list[str]:
        """Have all come back who have not, and judge."""
        self.now += 20.0
        done = {event.player for event in self.events if event.type == "pong"}
        for group in GROUPS:
            self.hello(*(player for player in group if player not in done))
        return judge(attrs.evolve(Story(self.events, GROUPS), **changes))

    def play(self) -> None:
        """Four queue, accept and play."""
        self.queue("ann")
        self.queue("bob")
        self.queue("cat", "dan")
        self.at(1)
        self.ask("x1", "ann", "bob", "cat", "dan")
        self.at(2)
        self.accept("x1", "ann", "bob", "cat", "dan")
        self.at(3)
        self.find("m1", "ann", "bob", "cat", "dan")


WAITS = (("queue_status", {"state": "waiting"}),)


class JudgeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.told = Told()

    def assertFault(self, faults: list[str], *words: str) -> None:
        """Exactly this is wrong."""
        self.assertEqual(len(faults), 1, faults)
        for word in words:
            self.assertIn(word, faults[0])

    def test_nothing_wrong(self) -> None:
        """
        A match after a match, a decline, a cancel and a place in the queue are well.
        """
        told = self.told
        told.play()
        told.at(5)
        told.end("m1", "ann", "bob", "cat", "dan")
        told.queue("ann")
        told.queue("bob")
        told.queue("eve", "fay")
        told.at(6)
        told.ask("x2", "ann", "bob", "eve", "fay")
        told.accept("x2", "ann", "eve", "fay")
        told.sent("bob", "decline", prematch_id="x2")
        told.at(7)
        told.received("bob", "queue_status", state="idle")
        for player in ("ann", "eve", "fay"):
            told.received(player, "queue_status", state="waiting")
        told.sent("ann", "cancel")
        told.received("ann", "queue_status", state="idle")
        told.at(30)
        told.hello("eve", "fay", news=WAITS)
        self.assertEqual(told.finish(), [])

    def test_two_matches(self) -> None:
        """
        A player is in a second match before the first is over.
        """
        told = self.told
        told.play()
        told.at(4)
        told.ask("x2", "ann", "eve", "fay")
        told.accept("x2", "ann", "eve", "fay")
        told.at(5)
        told.find("m2", "ann", "eve", "fay")
        self.assertFault(told.finish(), "ann is in match m2", "and in m1")

    def test_void(self) -> None:
        """
        A match is over when its room is closed, and a place after the pong is a place.
        """
        told = self.told
        told.play()
        told.at(4)
        told.received("ann", "room_closed", room_id="m1")
        told.ask("x2", "ann", "eve", "fay")
        told.accept("x2", "ann", "eve", "fay")
        told.at(5)
        told.find("m2", "ann", "eve", "fay")
        told.end("m2", "ann")
        told.hello(*(player for group in GROUPS for player in group))
        told.at(6)
        told.queue("ann")
        self.assertEqual(told.finish(), [])

    def test_two_matches_that_only_others_saw(self) -> None:
        """
        So it is if the player was sent only one of the two, for its line was lost.
        """
        told = self.told
        told.play()
        told.at(4)
        told.ask("x2", "ann", "eve", "fay")
        told.accept("x2", "ann", "eve", "fay")
        told.at(5)
        told.find("m2", "ann", "eve", "fay", told=("eve",))
        self.assertFault(told.finish(), "ann is in match m2", "and in m1")

    def test_two_seats(self) -> None:
        """
        A player has two seats of one match, or is sent the seat of another.
        """
        told = self.told
        told.ask("x1", "ann", "bob")
        told.accept("x1", "ann", "bob")
        told.at(1)
        told.find("m1", "ann", "bob", "bob", told=("ann",))
        seats = [{"seat": 0, "player_id": "ann"}, {"seat": 1, "player_id": "bob"}]
        told.at(2)
        told.received("bob", "match_found", match_id="m1", players=seats, seat=0)
        faults = told.finish()
        self.assertIn("bob has two seats of match m1", faults)
        self.assertIn("bob was sent seat 0 of match m1, in which it has [1]", faults)
        self.assertIn("match m1 has other players for bob", faults)

    def test_without_a_yes(self) -> None:
        """
        A match begins although one player did not answer, or said no.
        """
        told = self.told
        told.ask("x1", "ann", "bob", "cat", "dan")
        told.accept("x1", "ann", "bob", "cat")
        told.at(1)
        told.find("m1", "ann", "bob", "cat", "dan")
        self.assertFault(told.finish(), "m1 began without the yes of dan to x1")

    def test_a_no(self) -> None:
        """
        A match begins although one player said no first.
        """
        told = self.told
        told.ask("x1", "ann", "bob")
        told.accept("x1", "ann")
        told.sent("bob", "decline", prematch_id="x1")
        told.at(1)
        told.accept("x1", "bob")
        told.at(2)
        told.find("m1", "ann", "bob")
        self.assertFault(told.finish(), "without the yes of bob")

    def test_a_yes_too_late(self) -> None:
        """
        A yes after the match began does not count.
        """
        told = self.told
        told.ask("x1", "ann", "bob")
        told.accept("x1", "ann")
        told.at(1)
        told.find("m1", "ann", "bob")
        told.at(2)
        told.accept("x1", "bob")
        self.assertFault(told.finish(), "without the yes of bob")

    def test_not_asked(self) -> None:
        """
        Nobody was asked about a match, or about one with these players.
        """
        told = self.told
        told.ask("x1", "ann", "bob")
        told.accept("x1", "ann", "bob")
        told.at(1)
        told.find("m1", "ann", "bob", "cat", "dan")
        self.assertFault(told.finish(), "nobody was asked about match m1")

    def test_made_twice(self) -> None:
        """
        One prematch became two matches.
        """
        told = self.told
        told.play()
        told.at(4)
        told.end("m1", "ann")
        told.at(5)
        told.find("m2", "ann", "bob", "cat", "dan")
        self.assertFault(told.finish(), "x1 became two matches")

    def test_lost_place(self) -> None:
        """
        A group that waited is sent that it does not, for no reason; or finds that out
        when it comes back.
        """
        told = self.told
        told.queue("ann")
        told.queue("cat", "dan")
        told.at(1)
        told.received("ann", "queue_status", state="idle")
        first, second = told.finish()
        self.assertIn("ann: lost its place", first)
        self.assertIn("cat dan: lost its place", second)

    def test_reasons(self) -> None:
        """
        It may lose the place if a member cancels, declines, is silent, or away.
        """
        for reason in ("cancel", "decline", "silent", "away"):
            told = Told()
            told.queue("cat", "dan")
            told.at(1)
            if reason == "cancel":
                told.sent("cat", "cancel")
            elif reason == "decline":
                told.ask("x1", "ann", "cat", "dan")
                told.sent("dan", "decline", prematch_id="x1")
            elif reason == "silent":
                told.ask("x1", "ann", "cat", "dan")
                told.accept("x1", "ann", "cat")
                told.at(4)
                told.received(
                    "cat",
                    "prematch_update",
                    id="x1",
                    state="dissolved",
                    accepted=["ann"],
                )
            else:
                told.closed("dan", "cut")
                told.at(12)
            told.received("cat", "queue_status", state="idle")
            self.assertEqual(told.finish(), [], reason)

    def test_unanswered_by_the_store(self) -> None:
        """
        A request that was refused because the storage did not answer has given no
        place: one that shows afterwards may go; one that was asked for again may not.
        """
        told = self.told
        told.sent("ann", "queue")
        told.refused("ann", "queue", "store_unavailable")
        told.at(1)
        told.received("ann", "queue_status", state="waiting")
        told.received("ann", "queue_status", state="idle")
        told.sent("bob", "queue")
        told.refused("bob", "queue", "store_unavailable")
        told.queue("bob")
        told.received("bob", "queue_status", state="idle")
        self.assertFault(told.finish(), "bob: lost its place")

    def test_older_reasons(self) -> None:
        """
        A reason from before it queued is none.
        """
        told = self.told
        told.sent("ann", "cancel")
        told.at(1)
        told.queue("ann")
        self.assertFault(told.finish(), "ann: lost its place")

    def test_slow_line(self) -> None:
        """
        What comes on one member's line may be older than what came on another's.
        """
        told = self.told
        told.sent("cat", "queue")
        told.received("cat", "queue_status", state="waiting")
        told.at(0.5)
        told.sent("cat", "cancel")
        told.received("cat", "queue_status", state="idle")
        told.at(0.8)
        told.sent("cat", "queue")
        told.at(1)
        told.received("dan", "queue_status", state="waiting")
        told.received("dan", "queue_status", state="idle")
        told.received("cat", "queue_status", state="waiting")
        told.at(30)
        told.hello("cat", "dan", news=WAITS)
        self.assertEqual(told.finish(), [])

    def test_lost_without_a_word(self) -> None:
        """
        A group finds only with its next hello that it lost its place, though it queues
        again and waits at the end; the end of its last match, which a hello repeats, is
        no answer.
        """
        told = self.told
        told.play()
        told.at(5)
        told.end("m1", "ann")
        told.queue("ann")
        told.at(10)
        told.closed("ann", "cut")
        told.at(11)
        told.hello("ann", news=[("match_ended", {"match_id": "m1"})])
        told.queue("ann")
        told.at(30)
        told.hello("ann", news=WAITS)
        self.assertFault(told.finish(), "ann: lost its place of 5.000 at 11.000")

    def test_stuck(self) -> None:
        """
        A player who has no match is refused as one who has, again and again.
        """
        told = self.told
        for now in (1, 4, 8):
            told.at(now)
            told.refused("ann", "queue", "already_in_match")
        self.assertFault(told.finish(), "ann: was refused with already_in_match")

    def test_not_back_at_the_end(self) -> None:
        """
        A player whose line stays closed is not welcome.
        """
        told = self.told
        told.finish()
        told.closed("ann")
        self.assertFault(judge(Story(told.events, GROUPS)), "ann was not welcome")

    def test_overtaken(self) -> None:
        """
        A later group of the same size is asked first, while an earlier one could be.
        """
        told = self.told
        told.queue("ann")
        told.at(5)
        told.queue("bob")
        told.queue("eve", "fay")
        told.at(10)
        told.ask("x1", "bob", "eve", "fay")
        told.at(20)
        told.hello("ann", "bob", "eve", "fay", news=WAITS)
        faults = told.finish()
        self.assertFault(
            faults, "ann, which waited from 0.000, was overtaken", "by bob"
        )
        # Not if the store had been away just before.
        story = Story(told.events, GROUPS, [Trouble(1, 9, "stop")])
        self.assertEqual(list(overtaken(story)), [])

    def test_not_overtaken(self) -> None:
        """
        Nobody overtakes those who are away, are being asked, or have another size.
        """
        told = self.told
        told.queue("ann")
        told.queue("cat", "dan")
        told.at(4)
        told.closed("ann")
        told.at(5)
        told.queue("bob")
        told.at(10)
        told.ask("x1", "bob")
        told.at(12)
        told.hello("ann", news=WAITS)
        told.at(20)
        told.hello("ann", "bob", "cat", "dan", news=WAITS)
        self.assertEqual(told.finish(), [])

    def test_front_kept(self) -> None:
        """
        Who was asked, and waits again because others declined, is at its old place.
        """
        told = self.told
        told.queue("ann")
        told.at(1)
        told.ask("x1", "ann")
        told.at(2)
        told.queue("bob")
        told.at(4)
        told.dissolve("x1", "ann", accepted=["ann"])
        told.received("ann", "queue_status", state="waiting")
        told.at(8)
        told.ask("x2", "bob")
        told.at(20)
        told.hello("ann", "bob", news=WAITS)
        self.assertFault(told.finish(), "ann, which waited from 0.000, was overtaken")

    def test_asked_before_the_answer(self) -> None:
        """
        The answer to a request to queue may come after the prematch, and a no to that.
        """
        told = self.told
        told.sent("cat", "queue")
        told.at(1)
        told.ask("x1", "ann", "cat", "dan")
        told.sent("dan", "decline", prematch_id="x1")
        told.received("cat", "queue_status", state="waiting")
        told.at(3)
        told.queue("eve", "fay")
        told.at(5)
        told.ask("x2", "eve", "fay")
        told.at(6)
        told.received("cat", "queue_status", state="idle")
        told.at(9)
        told.hello("eve", "fay", news=WAITS)
        self.assertEqual(told.finish(), [])

    def killed(self, back: float, *news: Any) -> list[str]:
        """Cat and dan wait; their node is killed at 10; dan comes back."""
        told = self.told
        party = ("party_update", {"party": {"party_id": "p"}})
        for player in ("cat", "dan"):
            told.received(player, *party[:1], **party[1])
        told.queue("cat", "dan")
        told.at(10)
        told.closed("cat")
        told.closed("dan")
        told.at(11)
        told.hello("cat", news=(party, *WAITS))
        told.at(back)
        told.hello("dan", news=[party if one == "party" else one for one in news])
        told.at(40)
        told.hello("cat", "dan", news=WAITS)
        return told.finish(troubles=[Trouble(10, 10, "kill")])

    def test_back_in_time(self) -> None:
        """
        After a kill a player is back in party and queue within the time.
        """
        self.assertEqual(self.killed(14, "party", *WAITS), [])

    def test_back_too_late(self) -> None:
        """
        A player's hello is answered too late.
        """
        self.assertFault(
            self.killed(16, "party", *WAITS),
            "dan was not welcome in time after the kill",
        )

    def test_without_a_party(self) -> None:
        """
        A player is welcome, but not in its party.
        """
        self.assertFault(self.killed(14, *WAITS), "dan was not back in its party")

    def test_without_a_place(self) -> None:
        """
        A player is welcome, but not in the queue.
        """
        first, second = self.killed(14, "party")
        self.assertIn("cat dan: lost its place", first)
        self.assertIn("dan was not back in the queue", second)
