"""The judge of matchmaking finds each fault, and nothing wrong where there is none."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.support.fairness import Event, Story, Trouble, judge, overtaken

GROUPS = (("ann",), ("bob",), ("cat", "dan"), ("eve", "fay"))
WAITS = (("queue_status", {"state": "waiting"}),)
#: Four queue, accept and play.
PLAY = (
    "0 queue ann; 0 queue bob; 0 queue cat dan; 1 ask x1 ann bob cat dan; "
    "2 accept x1 ann bob cat dan; 3 find m1 ann bob cat dan"
)


class Told:
    """Write a story: each step is a time, a method of this class, and its words."""

    def __init__(self, story: str = "") -> None:
        self.now, self.events = 0.0, list[Event]()
        for player in (player for group in GROUPS for player in group):
            self.received(player, "welcome")
        self.go_on(story)

    def go_on(self, story: str) -> None:
        """Write more steps."""
        for line in filter(None, story.split("; ")):
            now, what, *words = line.split()
            self.now = float(now)
            getattr(self, what)(*words)

    def received(self, player: str, type: str, **data: Any) -> None:
        """A player receives a message."""
        self.events.append(Event(self.now, player, "received", type, data))

    def sends(self, player: str, type: str, name: str = "") -> None:
        """A player sends a message."""
        data = {"prematch_id": name} if name else {}
        self.events.append(Event(self.now, player, "sent", type, data))

    def waits(self, *players: str) -> None:
        """Players are sent that they wait."""
        for player in players:
            self.received(player, "queue_status", state="waiting")

    def idle(self, player: str) -> None:
        """A player is sent that it does not."""
        self.received(player, "queue_status", state="idle")

    def refused(self, player: str, type: str, code: str) -> None:
        """A player's request is refused."""
        data = {"code": code}
        self.events.append(Event(self.now, player, "received", type, data, True))

    def closed(self, player: str, way: Any = "closed") -> None:
        """A player's line ends."""
        self.events.append(Event(self.now, player, way))

    def queue(self, *group: str) -> None:
        """A group queues."""
        self.sends(group[0], "queue")
        self.waits(*group)

    def ask(self, name: str, *players: str) -> None:
        """A match is proposed."""
        who = [{"player_id": player} for player in players]
        for player in players:
            self.received(player, "prematch", id=name, players=who, seconds=3.0)

    def accept(self, name: str, *players: str) -> None:
        """These accept."""
        for player in players:
            self.sends(player, "accept", name)
            self.received(
                player, "prematch_update", id=name, state="open", accepted=[player]
            )

    def dissolve(self, name: str, player: str, accepted: str) -> None:
        """A player is sent that a prematch is over."""
        data = {"id": name, "state": "dissolved", "accepted": [accepted]}
        self.received(player, "prematch_update", **data)

    def find(self, name: str, *players: str) -> None:
        """A match is made; if one has a star, only that player is sent it."""
        told = [player for player in players if player.startswith("*")] or players
        names = [player.removeprefix("*") for player in players]
        seats = [{"seat": seat, "player_id": one} for seat, one in enumerate(names)]
        for seat, player in enumerate(players):
            if player in told:
                self.received(
                    names[seat], "match_found", match_id=name, players=seats, seat=seat
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

    def back(self, *players: str) -> None:
        """Players come back, and wait."""
        self.hello(*players, news=WAITS)

    def finish(self, **changes: Any) -> list[str]:
        """Have all come back who have not, and judge."""
        self.now += 20.0
        done = {event.player for event in self.events if event.type == "pong"}
        for group in GROUPS:
            self.hello(*(player for player in group if player not in done))
        return judge(attrs.evolve(Story(self.events, GROUPS), **changes))


#: What happens, the steps of it, and words of the faults that there are in it.
STORIES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "a match after a match, a decline, a cancel and a place in the queue are well",
        f"{PLAY}; "
        "5 end m1 ann bob cat dan; 5 queue ann; 5 queue bob; 5 queue eve fay; "
        "6 ask x2 ann bob eve fay; 6 accept x2 ann eve fay; 6 sends bob decline x2; "
        "7 idle bob; 7 waits ann eve fay; 7 sends ann cancel; 7 idle ann; "
        "30 back eve fay",
        (),
    ),
    (
        "a player is in a second match before the first is over",
        f"{PLAY}; 4 ask x2 ann eve fay; 4 accept x2 ann eve fay; 5 find m2 ann eve fay",
        ("ann is in match m2, and in m1",),
    ),
    (
        "so it is if the player was sent only one of the two, for its line was lost",
        f"{PLAY}; "
        "4 ask x2 ann eve fay; 4 accept x2 ann eve fay; 5 find m2 ann *eve fay",
        ("ann is in match m2, and in m1",),
    ),
    (
        "a match begins although one player did not answer",
        "0 ask x1 ann bob cat dan; 0 accept x1 ann bob cat; 1 find m1 ann bob cat dan",
        ("m1 began without the yes of dan to x1",),
    ),
    (
        "a match begins although one player said no first",
        "0 ask x1 ann bob; 0 accept x1 ann; 0 sends bob decline x1; 1 accept x1 bob; "
        "2 find m1 ann bob",
        ("without the yes of bob",),
    ),
    (
        "a yes after the match began does not count",
        "0 ask x1 ann bob; 0 accept x1 ann; 1 find m1 ann bob; 2 accept x1 bob",
        ("without the yes of bob",),
    ),
    (
        "nobody was asked about a match with these players",
        "0 ask x1 ann bob; 0 accept x1 ann bob; 1 find m1 ann bob cat dan",
        ("nobody was asked about match m1",),
    ),
    (
        "one prematch became two matches",
        f"{PLAY}; 4 end m1 ann; 5 find m2 ann bob cat dan",
        ("x1 became two matches",),
    ),
    (
        "a group is sent that it does not wait, for no reason; or finds that out later",
        "0 queue ann; 0 queue cat dan; 1 idle ann",
        ("ann: lost its place", "cat dan: lost its place"),
    ),
    (
        "a member cancels",
        "0 queue cat dan; 1 sends cat cancel; 1 idle cat",
        (),
    ),
    (
        "a member declines",
        "0 queue cat dan; 1 ask x1 ann cat dan; 1 sends dan decline x1; 1 idle cat",
        (),
    ),
    (
        "a member is silent",
        "0 queue cat dan; 1 ask x1 ann cat dan; 1 accept x1 ann cat; "
        "4 dissolve x1 cat ann; 4 idle cat",
        (),
    ),
    (
        "a member is away",
        "0 queue cat dan; 1 closed dan cut; 12 idle cat",
        (),
    ),
    (
        "a request that the storage did not answer has given no place: one that shows"
        " afterwards may go; one that was asked for again may not",
        "0 sends ann queue; 0 refused ann queue store_unavailable; 1 waits ann; "
        "1 idle ann; 1 sends bob queue; 1 refused bob queue store_unavailable; "
        "1 queue bob; 1 idle bob",
        ("bob: lost its place",),
    ),
    (
        "a reason from before it queued is none",
        "0 sends ann cancel; 1 queue ann",
        ("ann: lost its place",),
    ),
    (
        "what comes on one member's line may be older than what came on another's",
        "0 sends cat queue; 0 waits cat; 0.5 sends cat cancel; 0.5 idle cat; "
        "0.8 sends cat queue; 1 waits dan; 1 idle dan; 1 waits cat; 30 back cat dan",
        (),
    ),
    (
        "a player who has no match is refused as one who has, again and again",
        "1 refused ann queue already_in_match; 4 refused ann queue already_in_match; "
        "8 refused ann queue already_in_match",
        ("ann: was refused with already_in_match",),
    ),
    (
        "nobody overtakes those who are away, are being asked, or have another size",
        "0 queue ann; 0 queue cat dan; 4 closed ann; 5 queue bob; 10 ask x1 bob; "
        "12 back ann; 20 back ann bob cat dan",
        (),
    ),
    (
        "who was asked, and waits again as others declined, is at its old place",
        "0 queue ann; 1 ask x1 ann; 2 queue bob; 4 dissolve x1 ann ann; 4 waits ann; "
        "8 ask x2 bob; 20 back ann bob",
        ("ann, which waited from 0.000, was overtaken",),
    ),
    (
        "the answer to a request to queue may come after the prematch, and a no to it",
        "0 sends cat queue; 1 ask x1 ann cat dan; 1 sends dan decline x1; "
        "1 waits cat; 3 queue eve fay; 5 ask x2 eve fay; 6 idle cat; 9 back eve fay",
        (),
    ),
)


class JudgeTests(SynchronousTestCase):
    def assert_faults(self, faults: list[str], what: str, *expected: str) -> None:
        """Exactly this is wrong, in this order."""
        self.assertEqual(len(faults), len(expected), (what, faults))
        for fault, words in zip(faults, expected, strict=True):
            for part in words.split(", and "):
                self.assertIn(part, fault, what)

    def test_stories(self) -> None:
        """
        Each fault is found, and nothing wrong where there is none.
        """
        for what, story, expected in STORIES:
            self.assert_faults(Told(story).finish(), what, *expected)

    def test_void(self) -> None:
        """
        A match is over when its room is closed, and a place after the pong is a place.
        """
        told = Told(PLAY)
        told.now = 4.0
        told.received("ann", "room_closed", room_id="m1")
        told.go_on(
            "4 ask x2 ann eve fay; 4 accept x2 ann eve fay; 5 find m2 ann eve fay; "
            "5 end m2 ann; 5 hello ann bob cat dan eve fay; 6 queue ann"
        )
        self.assertEqual(told.finish(), [])

    def test_two_seats(self) -> None:
        """
        A player has two seats of one match, or is sent the seat of another.
        """
        told = Told("0 ask x1 ann bob; 0 accept x1 ann bob; 1 find m1 *ann bob bob")
        seats = [{"seat": 0, "player_id": "ann"}, {"seat": 1, "player_id": "bob"}]
        told.now = 2.0
        told.received("bob", "match_found", match_id="m1", players=seats, seat=0)
        faults = told.finish()
        self.assertIn("bob has two seats of match m1", faults)
        self.assertIn("bob was sent seat 0 of match m1, in which it has [1]", faults)
        self.assertIn("match m1 has other players for bob", faults)

    def test_lost_without_a_word(self) -> None:
        """
        A group finds only with its next hello that it lost its place, though it queues
        again and waits at the end; the end of its last match, which a hello repeats, is
        no answer.
        """
        told = Told(f"{PLAY}; 5 end m1 ann; 5 queue ann; 10 closed ann cut")
        told.now = 11.0
        told.hello("ann", news=[("match_ended", {"match_id": "m1"})])
        told.go_on("11 queue ann; 30 back ann")
        why = "ann: lost its place of 5.000 at 11.000"
        self.assert_faults(told.finish(), "lost", why)

    def test_not_back_at_the_end(self) -> None:
        """
        A player whose line stays closed is not welcome.
        """
        told = Told()
        told.finish()
        told.closed("ann")
        faults = judge(Story(told.events, GROUPS))
        self.assert_faults(faults, "closed", "ann was not welcome")

    def test_overtaken(self) -> None:
        """
        A later group of the same size is asked first, while an earlier one could be.
        """
        told = Told(
            "0 queue ann; 5 queue bob; 5 queue eve fay; 10 ask x1 bob eve fay; "
            "20 back ann bob eve fay"
        )
        why = "ann, which waited from 0.000, was overtaken"
        self.assert_faults(told.finish(), "overtaken", f"{why}, and by bob")
        # Not if the store had been away just before.
        story = Story(told.events, GROUPS, [Trouble(1, 9, "stop")])
        self.assertEqual(list(overtaken(story)), [])

    def test_killed(self) -> None:
        """
        After a kill a player is back in party and queue within the time; else it is
        said what is missing.
        """
        party = ("party_update", {"party": {"party_id": "p"}})
        for back, news, expected in (
            (14, (party, *WAITS), ()),
            (16, (party, *WAITS), ("dan was not welcome in time after the kill",)),
            (14, WAITS, ("dan was not back in its party",)),
            (
                14,
                (party,),
                ("cat dan: lost its place", "dan was not back in the queue"),
            ),
        ):
            told = Told()
            for player in ("cat", "dan"):
                told.received(player, *party[:1], **party[1])
            told.go_on("0 queue cat dan; 10 closed cat; 10 closed dan")
            told.now = 11.0
            told.hello("cat", news=(party, *WAITS))
            told.now = float(back)
            told.hello("dan", news=news)
            told.go_on("40 back cat dan")
            faults = told.finish(troubles=[Trouble(10, 10, "kill")])
            self.assert_faults(faults, f"{back} {news}", *expected)
