"""What this process has open."""

from __future__ import annotations

import os
from pathlib import Path


def every_descriptor() -> list[str]:
    """What our own descriptors are."""
    return [os.path.realpath(one) for one in Path("/proc/self/fd").iterdir()]


def opened_in(folder: Path) -> list[str]:
    """The files of a folder that we have open."""
    return [one for one in every_descriptor() if Path(one).parent == folder.resolve()]
