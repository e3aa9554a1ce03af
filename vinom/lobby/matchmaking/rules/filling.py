"""Fill a match around one entry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from vinom.base.model import QueueEntry
from vinom.lobby.matchmaking.rules.rule import Proposal, Shape
from vinom.lobby.matchmaking.rules.sides import Sides, completion, have_met, proposal

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
