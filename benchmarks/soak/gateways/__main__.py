"""
``python -m benchmarks.soak.gateways``: how faults of some peers affect the others.

It runs twice, with 1,000 clients over HTTP, WebSocket, packets and plain bytes. The
second time back ends are killed, stopped or slowed down, and 90 more clients do not
read, or send one byte per second. "The others" are clients whose back ends are left
alone.
"""

from __future__ import annotations

import argparse
import sys

import attrs

from benchmarks.machine import Failed, awake
from benchmarks.soak.gateways.run import Plan, soak
from vinom.errors import VinomError

#: What trouble may do to the p99 of others, times.
MOST_TIMES = 2.0
#: Below this a p99 is the machine's, not ours, ms.
_NOISE = 2.0


def main(argv: list[str] | None = None) -> int:
    """Run both; the exit status is 1 if anything was wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak.gateways", description=__doc__
    )
    parser.add_argument("--clients", type=int, default=1000, help="good ones (1000)")
    parser.add_argument("--seconds", type=float, default=120.0, help="of each (120)")
    parser.add_argument("--pause", type=float, default=2.0, help="of a client (2)")
    options = parser.parse_args(argv)
    trouble = Plan(
        clients=options.clients,
        bad=max(9, options.clients * 9 // 100),
        seconds=options.seconds,
        pause=options.pause,
        stopped=min(25.0, options.seconds / 5),
    )
    try:
        found = []
        for name, plan in (
            ("calm", attrs.evolve(trouble, bad=0, strikes=False)),
            ("trouble", trouble),
        ):
            with awake():
                verdict = soak(plan, lambda text: print(f"... {text}", flush=True))
            print(f"{name}: {verdict}", flush=True)
            found.append(verdict)
    except (Failed, VinomError) as error:
        print(f"soak failed: {error}", flush=True)
        return 1
    calm, beside = found
    times = beside.p99 / max(calm.p99, _NOISE)
    is_slow = times > MOST_TIMES
    print(
        f"p99 of the others in trouble: {times:.2f} times"
        f"{f', more than {MOST_TIMES:g}: FAILED' if is_slow else ''}"
    )
    return int(is_slow or any(verdict.wrong for verdict in found))


if __name__ == "__main__":
    sys.exit(main())
