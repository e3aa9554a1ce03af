"""Fill a match around one entry: which entries fit, with every party in one team."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from math import inf
from typing import Any

import attrs

from vinom.base.model import QueueEntry
from vinom.lobby.matchmaking.rules.rule import Explanation, Proposal, Shape

#: Teams that `deal` tries before it gives up: parties could have very many orders.
_MOST_TRIED = 2000
#: Players of the largest match whose parties are chosen by their sizes.
_LARGEST = 128


@attrs.define
class Sides:
    """
    A match that is being filled.

    :ivar free: how many more players it takes.
    :ivar largest: the largest party that still fits.
    """

    free: int
    largest: int
    _room: list[int]

    @classmethod
    def empty(cls, shape: Shape) -> Sides:
        """Begin with nobody."""
        return cls(shape.most, shape.largest, [shape.largest] * (shape.teams or 1))

    def add(self, size: int) -> None:
        """Add a party of at most `largest` players, to the fullest team it fits."""
        room = self._room
        best = -1
        for team, left in enumerate(room):
            if left >= size and (best < 0 or left < room[best]):
                best = team
        room[best] -= size
        self.free -= size
        self.largest = min(max(room), self.free)


def proposal(
    entries: tuple[QueueEntry, ...],
    shape: Shape,
    strengths: Sequence[float] = (),
    *,
    region: str = "",
) -> Proposal | None:
    """
    Seat entries in teams; ``None`` if their parties do not fit into equal teams.

    :param entries: the longest wait first.
    :param shape: how many players a match has.
    :param strengths: of the entries; the teams become equally strong.
    :param region: where to play.
    """
    if shape.teams is None:
        return Proposal(entries, (), region)
    sizes = [len(entry.players) for entry in entries]
    teams = deal(sizes, shape.teams, strengths)
    return None if teams is None else Proposal(entries, teams, region)


def deal(
    sizes: Sequence[int], teams: int, strengths: Sequence[float] = ()
) -> tuple[int, ...] | None:
    """
    Deal parties to teams whose numbers of players differ by at most one.

    :param sizes: of the parties, the longest wait first.
    :param teams: how many.
    :param strengths: of each party's players on average.
    :returns: the team of each party; ``None`` if it is impossible.
    """
    if not strengths:
        return _deal_sizes(tuple(sizes), teams)
    if sum(sizes) == len(sizes):
        return _deal_lone(strengths, teams)
    return _deal_parties(sizes, teams, strengths)


@lru_cache(4096)
def _deal_sizes(sizes: tuple[int, ...], teams: int) -> tuple[int, ...] | None:
    """Deal parties of any strength; lone players are dealt in turn."""
    if sum(sizes) == len(sizes):
        return tuple(number % teams for number in range(len(sizes)))
    return _deal_parties(sizes, teams, ())


def _deal_parties(
    sizes: Sequence[int], teams: int, strengths: Sequence[float]
) -> tuple[int, ...] | None:
    """Try the teams for each party, the largest first."""
    total = sum(sizes)
    low, larger = divmod(total, teams)
    # The large ones first: small ones fit anywhere.
    order = sorted(
        range(len(sizes)),
        key=lambda at: (-sizes[at], -strengths[at] if strengths else at),
    )
    room = [low + (team < larger) for team in range(teams)]
    power = [0.0] * teams
    dealt = [0] * len(sizes)
    tried = 0

    def place(number: int) -> bool:
        nonlocal tried
        if number == len(order):
            return True
        tried += 1
        party = order[number]
        size = sizes[party]
        might = size * strengths[party] if strengths else float(size)
        seen = set()
        for team in sorted(range(teams), key=lambda team: (power[team], team)):
            if room[team] < size or (room[team], power[team]) in seen:
                continue
            seen.add((room[team], power[team]))
            room[team] -= size
            power[team] += might
            dealt[party] = team
            if place(number + 1):
                return True
            room[team] += size
            power[team] -= might
            if tried > _MOST_TRIED:
                return False
        return False

    return tuple(dealt) if place(0) else None


def _deal_lone(strengths: Sequence[float], teams: int) -> tuple[int, ...]:
    """Deal lone players: the teams choose the strongest in turn, then in reverse."""
    dealt = [0] * len(strengths)
    order = sorted(range(len(strengths)), key=strengths.__getitem__, reverse=True)
    for number, player in enumerate(order):
        row, place = divmod(number, teams)
        dealt[player] = teams - 1 - place if row % 2 else place
    return tuple(dealt)


def completion(
    shape: Shape, first: int, sizes: Iterable[tuple[int, int]], least: int
) -> tuple[int, ...] | None:
    """
    Find sizes of parties that make a match with equal teams, with a first party.

    The match is as large as possible.

    :param shape: how many players a match has.
    :param first: size of the first party.
    :param sizes: each size of the others, and how many have it.
    :param least: players of the smallest match to look for.
    :returns: the sizes to add; ``None`` if no choice makes a match.
    """
    most, teams = shape.most, shape.teams or 1
    if most > _LARGEST:
        return None
    counts = tuple(
        sorted((size, min(count, most // size)) for size, count in sizes if count)
    )
    there = first + sum(size * count for size, count in counts)
    for total in range(min(most, there), max(least, first) - 1, -1):
        low, larger = divmod(total, teams)
        room = [low + (team < larger) for team in range(teams)]
        for size in sorted({one for one in room if one >= first}):
            left = [*room]
            left.remove(size)
            found = _fill(tuple(sorted((*left, size - first))), counts)
            if found is not None:
                return found
    return None


@lru_cache(4096)
def _fill(
    room: tuple[int, ...], counts: tuple[tuple[int, int], ...]
) -> tuple[int, ...] | None:
    """Fill teams exactly, those with least room first."""
    while room and not room[0]:
        room = room[1:]
    if not room:
        return ()
    for at in range(len(counts) - 1, -1, -1):
        size, count = counts[at]
        if size <= room[0] and count:
            rest = (*counts[:at], (size, count - 1), *counts[at + 1 :])
            left = tuple(sorted((room[0] - size, *room[1:])))
            found = _fill(left, rest)
            if found is not None:
                return (size, *found)
    return None


def have_met(entry: QueueEntry, others: Iterable[QueueEntry]) -> bool:
    """Did a player of *entry* meet a player of the *others* lately?"""
    mine = entry.recent
    for other in others:
        if mine and any(player.player_id in mine for player in other.players):
            return True
        theirs = other.recent
        if theirs and any(player.player_id in theirs for player in entry.players):
            return True
    return False


@attrs.frozen
class Search:
    """
    What an entry's search takes now, to be explained.

    :ivar name: what an operator calls it, such as "window".
    :ivar wanted: who is needed, as the end of "2 more needed".
    :ivar reasons: why it leaves players out.
    :ivar leaves_out: says why it leaves out an entry; empty if it does not.
    :ivar widens_at: when it does, seconds since the Unix epoch; infinite if never.
    :ivar facts: others for operators.
    """

    name: str
    wanted: str
    reasons: tuple[str, ...]
    leaves_out: Callable[[QueueEntry], str]
    widens_at: float
    facts: Mapping[str, Any]

    def explain(
        self, entry: QueueEntry, entries: Iterable[QueueEntry], shape: Shape, now: float
    ) -> Explanation:
        """Explain what an entry waits for, as `Rule.explain`."""
        excluded = dict.fromkeys((*self.reasons, "party size", "met lately"), 0)
        within, room = 0, shape.most - len(entry.players)
        for other in entries:
            players = len(other.players)
            if other.entry_id == entry.entry_id:
                continue
            if players > min(shape.largest, room):
                excluded["party size"] += players
            elif reason := self.leaves_out(other):
                excluded[reason] += players
            else:
                within += players
                if have_met(entry, (other,)):
                    excluded["met lately"] += players
        widens_at = None if self.widens_at == inf else self.widens_at
        missing = shape.fewest - len(entry.players) - within
        if len(entry.players) > shape.largest:
            why = "its party is larger than a team"
        elif missing > 0:
            why = f"{missing} more needed {self.wanted}"
            if widens_at is not None:
                why += f"; the {self.name} widens in {max(0.0, widens_at - now):.1f} s"
        else:
            why = f"enough players within its {self.name}; the next round matches them"
        counted = {reason: count for reason, count in excluded.items() if count}
        return Explanation(why, counted, widens_at, self.facts)


#: How many entries are passed over, at most, to avoid recent opponents.
_MOST_PASSED_OVER = 8


@attrs.define
class Pool:
    """
    Entries of which a rule makes matches.

    :ivar entries: the longest wait first; below they are known by their index here.
    :ivar shape: how many players a match has.
    :ivar taken: 1 for each entry that has a match, or is too large for any.
    :ivar players: how many can still be matched.
    :ivar has_parties: is anybody not alone? Set by `add`.
    :ivar avoids: has anybody met others lately? Set by `add`.
    """

    entries: Sequence[QueueEntry]
    shape: Shape
    taken: bytearray = attrs.field(init=False)
    players: int = 0
    has_parties: bool = False
    avoids: bool = False

    def __attrs_post_init__(self) -> None:
        self.taken = bytearray(len(self.entries))

    def add(self, at: int) -> int:
        """
        Let an entry be matched, each once.

        :returns: how many players it has; 0 if it is too large for any match.
        """
        entry = self.entries[at]
        size = len(entry.players)
        if size > 1:
            if size > self.shape.largest:
                self.taken[at] = 1
                return 0
            self.has_parties = True
        if entry.recent:
            self.avoids = True
        self.players += size
        return size

    def fill(
        self,
        anchor: int,
        least: int,
        walk: Callable[[Sides], Iterable[int]],
        nearest: Callable[[int, int], list[int]],
        sizes: Iterable[int],
        *,
        strengths: Callable[[int], float] | None = None,
        region: str = "",
    ) -> Proposal | None:
        """
        Make a match around an entry, and take its entries; ``None`` if there is none.

        :param anchor: the entry.
        :param least: players of the smallest match that may start now.
        :param walk: walks over the other entries that fit, the best first.
        :param nearest: gives the best other entries of a size, at most so many.
        :param sizes: of parties that wait.
        :param strengths: of an entry, to make teams equally strong.
        :param region: where to play.
        """
        chosen: list[int] = []
        if not self.has_parties:
            # Nearly always they fit, and have not met.
            chosen = [anchor, *nearest(1, self.shape.most - 1)]
            count = len(chosen)
        if self.has_parties or (self.avoids and self._have_met(chosen)):
            chosen, count = self._greedy(anchor, walk)
        found = None
        if count >= least:
            found = self._propose(chosen, strengths, region)
        if found is None and self.has_parties:
            again = self._by_sizes(anchor, least, nearest, sizes)
            if again is not None:
                chosen, found = again, self._propose(again, strengths, region)
        if found is not None:
            for at in chosen:
                self.taken[at] = 1
                self.players -= len(self.entries[at].players)
        return found

    def _have_met(self, chosen: Sequence[int]) -> bool:
        """Did any of these meet another one lately?"""
        group = [self.entries[at] for at in chosen]
        return any(have_met(one, group[:number]) for number, one in enumerate(group))

    def _greedy(
        self, anchor: int, walk: Callable[[Sides], Iterable[int]]
    ) -> tuple[list[int], int]:
        """Choose the best one after the other; returns them and their players."""
        entries, sides = self.entries, Sides.empty(self.shape)
        chosen, passed = [anchor], list[int]()
        sides.add(len(entries[anchor].players))
        for at in walk(sides) if sides.free else ():
            if (
                self.avoids
                and len(passed) < _MOST_PASSED_OVER
                and have_met(entries[at], [entries[one] for one in chosen])
            ):
                passed.append(at)
                continue
            chosen.append(at)
            sides.add(len(entries[at].players))
            if not sides.free:
                break
        for at in passed:
            # There was no other choice.
            if len(entries[at].players) <= sides.largest:
                chosen.append(at)
                sides.add(len(entries[at].players))
        return chosen, self.shape.most - sides.free

    def _by_sizes(
        self,
        anchor: int,
        least: int,
        nearest: Callable[[int, int], list[int]],
        sizes: Iterable[int],
    ) -> list[int] | None:
        """Choose entries whose sizes make equal teams, where the best ones do not."""
        near: Mapping[int, list[int]] = {
            size: nearest(size, self.shape.most // size) for size in sizes
        }
        own = len(self.entries[anchor].players)
        counts = [(size, len(found)) for size, found in near.items()]
        wanted = completion(self.shape, own, counts, least)
        if wanted is None:
            return None
        chosen = [anchor]
        for size in sorted(set(wanted)):
            chosen += near[size][: wanted.count(size)]
        return chosen

    def _propose(
        self,
        chosen: Sequence[int],
        strengths: Callable[[int], float] | None,
        region: str,
    ) -> Proposal | None:
        chosen = sorted(chosen)
        return proposal(
            tuple([self.entries[at] for at in chosen]),
            self.shape,
            [] if strengths is None else list(map(strengths, chosen)),
            region=region,
        )
