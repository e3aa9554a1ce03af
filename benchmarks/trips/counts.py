"""What one trip through a node is made of, and how it is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

import attrs

from benchmarks.machine import Failed
from benchmarks.trips.recorder import Event

#: A function: its module, its qualified name, and the line where it begins, which tells
#: apart two lambdas of one function.
Function = tuple[str, str, int]


@attrs.frozen
class Part:
    """
    What one process did in a trip.

    :ivar process: "node" or "game server".
    :ivar calls: calls of the package's functions, in order.
    """

    process: str
    calls: tuple[Event, ...]

    @property
    def functions(self) -> tuple[Function, ...]:
        """Each function once, in the order in which they were first called."""
        return tuple(dict.fromkeys(_function(call) for call in self.calls))

    @property
    def changes(self) -> int:
        """How often two neighbours in `functions` stand in different modules."""
        return sum(one[0] != next_[0] for one, next_ in pairwise(self.functions))


@attrs.frozen
class Trip:
    """
    All that happened between one message of a player and its answers.

    :ivar parts: one of each process that took part, in the order of their first call.
    """

    parts: tuple[Part, ...]

    @property
    def functions(self) -> int:
        """How many functions were called; one that was called twice counts once."""
        return len({name for part in self.parts for name in part.functions})

    @property
    def modules(self) -> int:
        """How many modules these stand in."""
        return len({name[0] for part in self.parts for name in part.functions})

    @property
    def changes(self) -> int:
        """
        How often a reader has to turn to another module.

        That is, a reader who reads each function where it is first called: the sum of
        `Part.changes`.
        """
        return sum(part.changes for part in self.parts)

    @property
    def calls(self) -> int:
        """How many calls there were, with each time that a generator goes on."""
        return sum(len(part.calls) for part in self.parts)

    def of(self, process: str) -> Trip:
        """Leave out what other processes did."""
        return Trip(tuple(part for part in self.parts if part.process == process))

    def lines(self) -> Iterator[str]:
        """List the calls for people: a line per call, indented by depth."""
        for part in self.parts:
            yield f"# {part.process}"
            least = min(call.depth for call in part.calls)
            for call in part.calls:
                indent = "  " * (call.depth - least)
                yield f"{indent}{call.module}:{call.function}"


def cut(
    recorded: Iterable[tuple[str, list[Event]]], asked_at: int, answered_at: int
) -> Trip:
    """
    Cut a trip out of what processes recorded.

    The part of a process is made of whole turns of its reactor. It begins when the
    process wakes for the first thing that it reads after the player's message left, and
    ends when it waits again after the last thing that it sends before the player has
    all answers. A process that read or sent nothing took no part.

    :param recorded: of each process, whether it is a "node" or a "game server", and
        what it did.
    :param asked_at: when the player's message left, nanoseconds.
    :param answered_at: when the last answer was there, nanoseconds.
    :raises Failed: nobody took part.
    """
    parts = []
    for process, events in recorded:
        part = Part(process, tuple(_between(events, asked_at, answered_at)))
        if part.calls:
            parts.append(part)
    if not parts:
        raise Failed("no process called anything between a message and its answers")
    return Trip(tuple(sorted(parts, key=lambda part: part.calls[0].at)))


def _between(events: list[Event], asked_at: int, answered_at: int) -> list[Event]:
    during = [n for n, e in enumerate(events) if asked_at <= e.at <= answered_at]
    reads = [number for number in during if events[number].kind == "read"]
    sends = [number for number in during if events[number].kind == "send"]
    if not reads or not sends or sends[-1] < reads[0]:
        return []
    begin, end = reads[0], sends[-1]
    while begin > 0 and events[begin].kind != "wake":
        begin -= 1
    while end < len(events) and events[end].kind != "wait":
        end += 1
    return [event for event in events[begin:end] if event.kind == "call"]


def usual(trips: Iterable[Trip]) -> tuple[Trip, float]:
    """
    Find the trip that was made most often, and the share of all that it has.

    Two trips are the same if they call the same functions in the same order. Others
    differ from the usual one by something that happens now and then, such as a timer.
    """
    found = list(trips)
    count = Counter(_way(trip) for trip in found)
    way, times = count.most_common(1)[0]
    return next(trip for trip in found if _way(trip) == way), times / len(found)


def _way(trip: Trip) -> tuple[tuple[str, tuple[Function, ...]], ...]:
    return tuple((part.process, part.functions) for part in trip.parts)


def _function(call: Event) -> Function:
    return call.module, call.function, call.line
