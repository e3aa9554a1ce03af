"""
Judge from what players sent and received whether matchmaking kept its promises.

It knows no code of the product: only messages, their times, and who is in which group.
Each function returns sentences, one for each fault; none means that all is well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import inf
from typing import Any, Literal

import attrs

#: What a player who is in the queue, or nearly in a match, is sent.
_IN_QUEUE = ("waiting", "matched")
#: What shows a player in which queue or match it is.
_PLACES = {
    *("queue_status", "prematch", "prematch_update"),
    *("match_found", "match_ended"),
}
#: Requests for which a group may lose its place.
_REASONS = ("cancel", "decline")
#: Refusals that say that a player is busy.
_BUSY = ("already_queued", "already_in_match")


@attrs.frozen
class Event:
    """
    What happened at the line of a player.

    :ivar at: seconds.
    :ivar player: the player's id.
    :ivar way: "sent", "received", "closed" (by the server), or "cut" (by the player).
    :ivar type: of the message; of a refused request for ``error``.
    :ivar data: of the message, or the error.
    """

    at: float
    player: str
    way: Literal["sent", "received", "closed", "cut"]
    type: str = ""
    data: Mapping[str, Any] = attrs.field(factory=dict)
    is_error: bool = False

    def __str__(self) -> str:
        data = {name: one for name, one in self.data.items() if name != "certificate"}
        error = " refused" if self.is_error else ""
        return f"{self.at:.3f} {self.player} {self.way} {self.type}{error} {data}"


@attrs.frozen
class Trouble:
    """
    A time at which something was broken.

    :ivar began: seconds.
    :ivar ended: seconds; of a kill the same.
    :ivar name: for sentences.
    """

    began: float
    ended: float
    name: str


@attrs.frozen
class Story:
    """
    What is judged.

    :ivar events: of all players, in any order.
    :ivar groups: ids of those who queue together; the first one queues for all.
    :ivar troubles: what was done to nodes and store.
    :ivar back_seconds: how soon after a trouble everybody must be back.
    :ivar away_seconds: who is away for longer loses the place in the queue.
    :ivar margin: how long news may travel.
    """

    events: Sequence[Event]
    groups: Sequence[tuple[str, ...]]
    troubles: Sequence[Trouble] = ()
    back_seconds: float = 5.0
    away_seconds: float = 10.0
    margin: float = 1.0

    @property
    def in_order(self) -> list[Event]:
        """The events by their times."""
        return sorted(self.events, key=lambda event: event.at)


def judge(story: Story) -> list[str]:
    """List every fault of a story."""
    return [
        *booked_twice(story),
        *not_accepted(story),
        *forgotten(story),
        *overtaken(story),
        *back_too_late(story),
    ]


@attrs.define
class _Match:
    match_id: str
    players: tuple[str, ...]
    found: float
    ended: float = inf


def matches(story: Story) -> dict[str, _Match]:
    """Find the matches that players were sent, by id."""
    found: dict[str, _Match] = {}
    for event in story.in_order:
        if event.way != "received" or event.is_error:
            continue
        if event.type == "match_found":
            seats = sorted(event.data["players"], key=lambda seat: int(seat["seat"]))
            players = tuple(str(seat["player_id"]) for seat in seats)
            match_id = str(event.data["match_id"])
            found.setdefault(match_id, _Match(match_id, players, event.at))
        elif event.type in ("match_ended", "room_closed"):
            # Of a void match those who wait again see only that its room is closed.
            name = "match_id" if event.type == "match_ended" else "room_id"
            match = found.get(str(event.data[name]))
            if match is not None:
                match.ended = min(match.ended, event.at)
    return found


def booked_twice(story: Story) -> Iterator[str]:
    """Find players in two matches, or twice in one, and matches that look different."""
    known = matches(story)
    by_player: dict[str, list[_Match]] = defaultdict(list)
    for match in known.values():
        for player in sorted(set(match.players)):
            by_player[player].append(match)
            if match.players.count(player) > 1:
                yield f"{player} has two seats of match {match.match_id}"
    for event in story.in_order:
        if event.type == "match_found" and event.way == "received":
            match = known[str(event.data["match_id"])]
            own = [
                int(seat["seat"])
                for seat in event.data["players"]
                if seat["player_id"] == event.player
            ]
            if own != [event.data["seat"]]:
                yield (
                    f"{event.player} was sent seat {event.data['seat']} of match "
                    f"{match.match_id}, in which it has {own}"
                )
            if sorted(str(seat["player_id"]) for seat in event.data["players"]) != (
                sorted(match.players)
            ):
                yield f"match {match.match_id} has other players for {event.player}"
    for player, its in by_player.items():
        its.sort(key=lambda match: match.found)
        for one, other in pairwise(its):
            if other.found < one.ended:
                yield (
                    f"{player} is in match {other.match_id} at {other.found:.3f} and "
                    f"in {one.match_id} from {one.found:.3f} to {one.ended:.3f}"
                )


@attrs.define
class _Prematch:
    prematch_id: str
    players: frozenset[str]
    found: float
    until: float = inf
    said_yes: dict[str, float] = attrs.field(factory=dict)
    said_no: dict[str, float] = attrs.field(factory=dict)
    confirmed: set[str] = attrs.field(factory=set)
    is_over: bool = False


def prematches(story: Story) -> dict[str, _Prematch]:
    """Find the prematches that players were sent, by id, with their answers."""
    found: dict[str, _Prematch] = {}
    for event in story.in_order:
        data = event.data
        if event.type == "prematch" and event.way == "received":
            players = frozenset(str(who["player_id"]) for who in data["players"])
            found.setdefault(
                str(data["id"]),
                _Prematch(
                    str(data["id"]), players, event.at, event.at + data["seconds"]
                ),
            )
        elif event.type == "prematch_update" and event.way == "received":
            prematch = found.get(str(data["id"]))
            if prematch is not None:
                prematch.confirmed |= set(data["accepted"])
                prematch.is_over |= data["state"] == "dissolved"
        elif event.way == "sent" and event.type in ("accept", "decline"):
            prematch = found.get(str(data["prematch_id"]))
            if prematch is not None:
                said = prematch.said_yes if event.type == "accept" else prematch.said_no
                said.setdefault(event.player, event.at)
    return found


def not_accepted(story: Story) -> Iterator[str]:
    """Find matches that not everybody accepted, and two matches of one prematch."""
    asked = sorted(prematches(story).values(), key=lambda prematch: prematch.found)
    made: set[str] = set()
    for match in sorted(matches(story).values(), key=lambda match: match.found):
        players = frozenset(match.players)
        of_these = [
            one for one in asked if one.players == players and one.found <= match.found
        ]
        if not of_these:
            yield f"nobody was asked about match {match.match_id}"
            continue
        missing = {
            one.prematch_id: sorted(
                player
                for player in players
                if one.said_yes.get(player, inf) > match.found
                or one.said_no.get(player, inf) < one.said_yes.get(player, inf)
            )
            for one in of_these
        }
        agreed = [name for name, without in missing.items() if not without]
        if not agreed:
            last = of_these[-1].prematch_id
            yield (
                f"match {match.match_id} began without the yes of "
                f"{', '.join(missing[last])} to {last}"
            )
        elif fresh := [name for name in agreed if name not in made]:
            made.add(fresh[0])
        else:
            yield f"prematch {agreed[-1]} became two matches, one {match.match_id}"


def _by_group(story: Story) -> dict[tuple[str, ...], list[Event]]:
    group_of = {player: group for group in story.groups for player in group}
    found: dict[tuple[str, ...], list[Event]] = {group: [] for group in story.groups}
    for event in story.in_order:
        found[group_of[event.player]].append(event)
    return found


@attrs.define
class _Known:
    """
    What one player knows about the place of its group, by its own line.

    The lines of a group's members go to several nodes: what comes on one may be older
    than what came on another.

    :ivar since: when it was sent that it waits; ``None`` if it does not, so far.
    :ivar seen: when it was last sent that it waits, or is asked about a match.
    :ivar asked: prematches that it was asked about.
    :ivar ended: matches that it was sent the end of.
    :ivar must_learn: has it said hello, and was not sent yet where it is?
    """

    since: float | None = None
    seen: float = 0.0
    asked: set[str] = attrs.field(factory=set)
    ended: set[str] = attrs.field(factory=set)
    must_learn: bool = False

    def waits(self, at: float, *, is_asked: bool = False) -> None:
        """It is in the queue, or nearly in a match."""
        if self.since is None and not is_asked:
            self.since = at
        self.seen, self.must_learn = at, False


@attrs.define
class _Place:
    """
    What a group knows about its place in the queue.

    :ivar group: its players.
    :ivar reasons: why it may lose the place, and since when.
    :ivar lines: since when members have no line.
    :ivar known: what each member knows.
    :ivar missed: when a loss was found without a reason.
    :ivar is_unsure: did the storage not answer the latest request for a place? Then
        there is none, and one that was made all the same is taken back.
    """

    story: Story
    group: tuple[str, ...]
    reasons: list[float] = attrs.field(factory=list)
    lines: dict[str, float] = attrs.field(factory=dict)
    known: dict[str, _Known] = attrs.field(factory=dict)
    missed: float = -inf
    is_unsure: bool = False

    @classmethod
    def of(
        cls, story: Story, group: tuple[str, ...], asked: Mapping[str, _Prematch]
    ) -> _Place:
        """Begin with the ends of prematches that members did not answer."""
        place = cls(story, group, known={player: _Known() for player in group})
        for prematch in asked.values():
            if not (prematch.players - prematch.confirmed).isdisjoint(group):
                place.reasons.append(prematch.until)
        return place

    def note(self, event: Event) -> str:
        """Take the next event; returns what is wrong with it."""
        data, kind, known = event.data, event.type, self.known[event.player]
        if event.way in ("closed", "cut"):
            self.lines.setdefault(event.player, event.at)
            known.must_learn = False
        elif event.way == "sent":
            if kind in _REASONS:
                self.reasons.append(event.at)
            elif kind == "queue":
                self.is_unsure = False
        elif event.is_error:
            if kind == "queue" and data["code"] == "store_unavailable":
                self.is_unsure = True
        elif kind == "welcome":
            gone = self.lines.pop(event.player, inf)
            if event.at - gone >= self.story.away_seconds:
                self.reasons.append(event.at)
            known.must_learn = True
        elif kind == "pong" and known.must_learn:
            # Its hello was answered with nothing about a place or a match.
            known.must_learn = False
            return self.left(event.player, event.at)
        elif kind == "match_found":
            known.since, known.must_learn = None, False
        elif kind == "match_ended":
            # A hello repeats the last one.
            if str(data["match_id"]) not in known.ended:
                known.ended.add(str(data["match_id"]))
                known.since, known.must_learn = None, False
        elif kind == "prematch":
            if str(data["id"]) not in known.asked:
                known.asked.add(str(data["id"]))
                known.waits(event.at, is_asked=True)
        elif kind == "queue_status" and data["state"] in _IN_QUEUE:
            known.waits(event.at)
        elif kind == "queue_status":
            known.must_learn = False
            return self.left(event.player, event.at)
        return ""

    def excuse(self, player: str, at: float) -> bool:
        """
        May the group have lost its place, as far as this player can know at this time?

        A reason from before it was last seen in the queue is none; but news take their
        time.
        """
        seen, margin = self.known[player].seen, self.story.margin
        return any(seen - margin < one <= at + margin for one in self.reasons) or any(
            at - gone >= self.story.away_seconds for gone in self.lines.values()
        )

    def left(self, player: str, at: float) -> str:
        """A player does not wait any more: was there a reason?"""
        was, self.known[player].since = self.known[player].since, None
        if was is None or self.is_unsure or self.excuse(player, at):
            return ""
        last, self.missed = self.missed, at
        if at - last <= self.story.margin:
            # Others of the group have found it out before.
            return ""
        return f"lost its place of {was:.3f} at {at:.3f}, and nobody had left"


def forgotten(story: Story) -> Iterator[str]:
    """
    Find groups that neither played nor are queued.

    After each hello a player pings: between the two comes what the service knows of the
    player. At the end all say hello again.
    """
    asked = prematches(story)
    for group, events in _by_group(story).items():
        name, place = " ".join(group), _Place.of(story, group, asked)
        last = _last_states(events)
        for event in events:
            if wrong := place.note(event):
                yield f"{name}: {wrong}"
        for player in group:
            if player not in last:
                yield f"{player} was not welcome at the end"
        refusals = _last_refusals(events)
        if refusals and refusals[-1].at - refusals[0].at > story.back_seconds:
            yield (
                f"{name}: was refused with {refusals[-1].data['code']} from "
                f"{refusals[0].at:.3f} to {refusals[-1].at:.3f}, and had no match"
            )


def _last_states(events: Iterable[Event]) -> dict[str, set[str]]:
    """List the types that each player was sent since its last welcome and a pong."""
    open_now: dict[str, set[str]] = {}
    done: dict[str, set[str]] = {}
    for event in events:
        if event.way != "received":
            if event.way in ("closed", "cut"):
                open_now.pop(event.player, None)
                done.pop(event.player, None)
        elif event.type == "welcome":
            open_now[event.player] = set()
        elif event.type == "pong" and event.player in open_now:
            done[event.player] = open_now.pop(event.player)
        elif not event.is_error:
            # What comes after the pong counts as well: the player may queue again.
            its = open_now.get(event.player, done.get(event.player))
            if its is not None:
                its.add(event.type)
    return done


def _last_refusals(events: Iterable[Event]) -> list[Event]:
    """List the refusals because a group is busy, since the last sign that it is."""
    found: list[Event] = []
    for event in events:
        if event.way != "received":
            continue
        if event.is_error and event.data["code"] in _BUSY and event.type == "queue":
            found.append(event)
        elif event.type in ("match_found", "prematch", "queue_status", "match_ended"):
            found.clear()
    return found


@attrs.frozen
class _Turn:
    """
    A time during which a group could be matched.

    :ivar queued_at: when it asked for its place: the order of the queue.
    :ivar ready: from when on.
    :ivar ended: until when.
    :ivar asked: did it end because a match was found?
    """

    group: tuple[str, ...]
    queued_at: float
    acknowledged: float
    ready: float
    ended: float
    asked: bool


def overtaken(story: Story) -> Iterator[str]:
    """
    Find groups that a later one of the same size overtook.

    All players are equally strong. Only what took longer than `Story.margin` counts;
    and nothing during a trouble, or as long after it as it takes to be back.
    """
    margin = story.margin
    turns = [
        turn for group, its in _by_group(story).items() for turn in _turns(group, its)
    ]
    turns.sort(key=lambda turn: turn.ended)
    for late in turns:
        if not late.asked or _is_troubled(story, late.ended):
            continue
        for early in turns:
            if (
                len(early.group) == len(late.group)
                and early.acknowledged + margin < late.queued_at
                and early.ready + margin < late.ended
                and early.ended > late.ended + margin
            ):
                yield (
                    f"{' '.join(early.group)}, which waited from "
                    f"{early.queued_at:.3f}, was overtaken at {late.ended:.3f} by "
                    f"{' '.join(late.group)}, which waited from {late.queued_at:.3f}"
                )


def _is_troubled(story: Story, at: float) -> bool:
    return any(
        trouble.began <= at <= trouble.ended + story.back_seconds
        for trouble in story.troubles
    )


def _turns(group: tuple[str, ...], events: Iterable[Event]) -> Iterator[_Turn]:
    """
    Find when a group waited, with all its members there.

    Where it is follows from what its first player, who queues for all, is sent: what
    comes on the others' lines may be older.
    """
    queued_at = acknowledged = ready = inf
    is_waiting, away, request = False, set[str](), inf
    end, open_id, known = 0.0, "", set[str]()
    for event in events:
        end = event.at
        was_ready = is_waiting and not away
        asked = False
        data, kind = event.data, event.type
        if event.way in ("closed", "cut"):
            away.add(event.player)
        elif event.way == "sent":
            if kind == "queue":
                request = event.at
            elif kind == "cancel":
                is_waiting, queued_at = False, inf
        elif event.is_error:
            continue
        elif event.player != group[0]:
            if kind == "welcome":
                away.discard(event.player)
        elif kind == "welcome":
            away.discard(event.player)
            # If it is still there, it is sent that again.
            is_waiting, open_id = False, ""
        elif kind == "pong":
            queued_at = queued_at if is_waiting or open_id else inf
        elif kind == "prematch":
            # A hello repeats it.
            open_id = str(data["id"])
            asked, is_waiting = open_id not in known, False
            known.add(open_id)
        elif kind == "prematch_update" and data["state"] == "dissolved":
            open_id = "" if data["id"] == open_id else open_id
        elif kind == "match_found":
            is_waiting, queued_at, open_id = False, inf, ""
        elif kind == "queue_status" and data["state"] == "waiting":
            if queued_at == inf:
                queued_at, acknowledged = request, event.at
            # The answer to its request may come after a prematch.
            is_waiting = not open_id
        elif kind == "queue_status":
            is_waiting, queued_at = False, inf
        is_ready = is_waiting and not away
        if is_ready and not was_ready:
            ready = event.at
            place = (queued_at, acknowledged)
        elif was_ready and not is_ready:
            yield _Turn(group, *place, ready, event.at, asked)
    if is_waiting and not away:
        yield _Turn(group, *place, ready, end, False)


def back_too_late(story: Story) -> Iterator[str]:
    """
    Find players who were not back in party, queue or match in time after a trouble.

    A kill concerns those whose lines it closed, a stop everybody: each says hello again
    soon after it.
    """
    asked = prematches(story)
    by_group = _by_group(story)
    for trouble in story.troubles:
        late = trouble.ended + story.back_seconds
        for group, events in by_group.items():
            place = _Place.of(story, group, asked)
            parties: set[str] = set()
            before = [event for event in events if event.at < trouble.began]
            after = [event for event in events if event.at >= trouble.began]
            if not after or after[-1].at < late:
                continue
            for event in before:
                place.note(event)
                if event.type == "party_update" and event.way == "received":
                    parties.add(str(event.data["party"]["party_id"]))
            were_queued = {
                player
                for player, known in place.known.items()
                if known.since is not None
            }
            for event in after:
                # Not what tells a member where it is: that is what is judged.
                if event.at <= late and event.type in ("", "welcome", *_REASONS):
                    place.note(event)
            excused = {player for player in group if place.excuse(player, late)}
            for player in group:
                yield from _late(
                    trouble,
                    late,
                    [event for event in after if event.player == player],
                    (len(group) > 1 and parties) or set(),
                    player in were_queued - excused,
                )


def _late(
    trouble: Trouble,
    late: float,
    events: Sequence[Event],
    parties: set[str],
    must_be_queued: bool,
) -> Iterator[str]:
    """Judge one player's events from the beginning of a trouble on."""
    is_kill = trouble.began == trouble.ended
    concerned = any(
        event.way == "closed" and event.at < trouble.began + 1.0 for event in events
    )
    if not events or (is_kill and not concerned):
        return
    since = trouble.began if is_kill else trouble.ended
    own = [event for event in events if since <= event.at <= late]
    player, where = events[0].player, f"{trouble.name} of {trouble.ended:.3f}"
    received = [
        event for event in own if event.way == "received" and not event.is_error
    ]
    kinds = {event.type for event in received}
    if "welcome" not in kinds:
        yield f"{player} was not welcome in time after the {where}"
        return
    found = {
        str(event.data["party"]["party_id"])
        for event in received
        if event.type == "party_update"
    }
    if parties and not found & parties:
        yield f"{player} was not back in its party in time after the {where}"
    if must_be_queued and not kinds & _PLACES:
        yield f"{player} was not back in the queue in time after the {where}"
