"""Checks of a node that runs for hours."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from vinom.errors import Code

#: Ends of matches that our trouble explains: a process was killed, or was stopped and
#: therefore killed; or the other players of a match were gone for that reason.
TROUBLE = frozenset({"lost", "void", "abandoned", "crashed", "line_lost"})
#: All errors that a bot may report.
KNOWN = TROUBLE | {str(code) for code in Code} | {"time_limit", "ended", "shutdown"}
#: Errors that no trouble explains: a match that ended otherwise than announced, or a
#: mistake in our code.
NEVER = frozenset({"version_mismatch", "view_mismatch", str(Code.INTERNAL)})


@attrs.frozen
class Sample:
    """
    The node at one moment.

    :ivar at: seconds since the beginning.
    :ivar memory: its private memory, bytes.
    :ivar descriptors: open descriptors.
    :ivar ports: free, bound and quarantined ones together.
    :ivar servers: processes of game servers.
    """

    at: float
    memory: int
    descriptors: int
    ports: int
    servers: int


@attrs.frozen
class Bounds:
    """
    Limits above which growth is a leak.

    :ivar ports: the number of ports, which is constant.
    :ivar growth: of memory, bytes per hour; growth before *warm* is not counted.
    :ivar slack: growth that is tolerated: allocators keep memory that was used once.
    :ivar descriptors: more than at the beginning.
    """

    ports: int
    growth: float = 8e6
    slack: float = 12e6
    descriptors: int = 64
    warm: float = 120.0


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Fit a line through points, and return its slope; 0 for one point."""
    count = len(points)
    middle_x = sum(x for x, _ in points) / count
    middle_y = sum(y for _, y in points) / count
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    if not spread:
        return 0.0
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread


def leaks(samples: Sequence[Sample], bounds: Bounds) -> list[str]:
    """List what grows that should not; empty if nothing does."""
    found = []
    last = samples[-1]
    if last.ports != bounds.ports:
        found.append(f"{last.ports} of {bounds.ports} ports are accounted for")
    more = last.descriptors - samples[0].descriptors
    if more > bounds.descriptors:
        found.append(f"{more} descriptors more than at the beginning")
    warm = [sample for sample in samples if sample.at >= bounds.warm]
    if len(warm) >= 2:
        steep = slope([(sample.at, float(sample.memory)) for sample in warm])
        grown = steep * (warm[-1].at - warm[0].at)
        if grown > bounds.slack and steep * 3600 > bounds.growth:
            found.append(f"memory grows by {steep * 3600 / 1e6:.1f} MB per hour")
    return found


def faults(errors: dict[str, int], failed: int, struck: int, seats: int) -> list[str]:
    """
    List errors of bots that nothing explains.

    :param errors: how often each code occurred.
    :param failed: matches.
    :param struck: game servers that were killed or stopped, or were attacked.
    :param seats: of one match.
    """
    found = [f"unknown error {code}" for code in errors if code not in KNOWN | NEVER]
    found += [f"{code} {errors[code]} times" for code in errors if code in NEVER]
    if failed > struck:
        found.append(f"{failed} matches failed, {struck} were meant to")
    lost = errors.get("lost", 0) + errors.get("crashed", 0)
    if lost > struck * seats:
        found.append(f"{lost} players lost their match, {struck} matches were struck")
    return found
