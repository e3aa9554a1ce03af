"""
``python -m benchmarks.instant_node vinom ...``: a node whose fleet answers at once.

It is `twistd vinom`, but matches are placed on a game server that does not exist: what
is measured is matchmaking, without game processes. Such a match never ends.
"""

from __future__ import annotations

import runpy
from typing import Any

from twisted.internet.defer import Deferred, succeed

from vinom.base.model import Placement
from vinom.fleet.fleet import Fleet

_PLACEMENT = Placement("instant", "127.0.0.1", 46000, "CERTIFICATE")


def _place(fleet: Fleet, *match: Any, **more: Any) -> Deferred[Placement]:
    """Place a match nowhere; see `Fleet.place`."""
    return succeed(_PLACEMENT)


if __name__ == "__main__":
    Fleet.place = _place  # type: ignore[method-assign]  # for this process only
    runpy.run_module("twisted", run_name="__main__")
