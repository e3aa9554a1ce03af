"""How player commands are told to play over a bad network."""

from __future__ import annotations

import argparse

from vinom.errors import Misconfigured
from vinom.rules.conditions import LONGEST_DELAY, Conditions

_LONGEST_MS = LONGEST_DELAY * 1000


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how bad the network is to be."""
    group = parser.add_argument_group(
        "bad network",
        "What happens to the datagrams of matches, in each direction; lobby lines "
        "are left alone.",
    )
    group.add_argument(
        "--loss",
        metavar="PERCENT",
        type=float,
        default=0.0,
        help="so many never arrive (0)",
    )
    group.add_argument(
        "--delay-ms", type=float, default=0.0, help="time on the way (0)"
    )
    group.add_argument(
        "--jitter-ms",
        type=float,
        default=0.0,
        help="up to so much more or less; at most --delay-ms (0)",
    )
    group.add_argument(
        "--duplicate",
        metavar="PERCENT",
        type=float,
        default=0.0,
        help="so many come twice (0)",
    )
    group.add_argument(
        "--reorder",
        metavar="PERCENT",
        type=float,
        default=0.0,
        help="so many are held back, and overtaken (0)",
    )
    group.add_argument(
        "--network-seed", type=int, help="the same luck every time (--seed)"
    )


def network_conditions(options: argparse.Namespace) -> Conditions | None:
    """
    Read what `add_network_arguments` declared.

    :returns: ``None`` if the network is to be as it is.
    :raises Misconfigured: it makes no sense.
    """
    for flag, percent in (
        ("--loss", options.loss),
        ("--duplicate", options.duplicate),
        ("--reorder", options.reorder),
    ):
        if not 0 <= percent <= 100:
            raise Misconfigured(f"{flag} must be a percentage, 0 to 100")
    for flag, ms in (
        ("--delay-ms", options.delay_ms),
        ("--jitter-ms", options.jitter_ms),
    ):
        if not 0 <= ms <= _LONGEST_MS:
            raise Misconfigured(f"{flag} must be 0 to {_LONGEST_MS:.0f} (milliseconds)")
    if options.jitter_ms > options.delay_ms:
        raise Misconfigured("--jitter-ms must not be more than --delay-ms")
    asked = Conditions(
        loss=options.loss / 100,
        duplicate=options.duplicate / 100,
        reorder=options.reorder / 100,
        delay=options.delay_ms / 1000,
        jitter=options.jitter_ms / 1000,
    )
    return None if asked == Conditions() else asked
