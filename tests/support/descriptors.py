"""What this process has open."""

from __future__ import annotations

import os
from pathlib import Path


def every_descriptor() -> list[str]:
    """What our own descriptors are, without the one that lists."""
    found = Path("/proc/self/fd").iterdir()
    return [os.path.realpath(one) for one in found if os.path.lexists(one)]


def opened_in(folder: Path) -> list[str]:
    return [one for one in every_descriptor() if Path(one).parent == folder.resolve()]
