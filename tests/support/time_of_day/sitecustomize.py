"""Python runs this first: the time of day is off by what the file ``step`` says."""

import os
import time
from contextlib import suppress

_real, _file = time.time, os.path.join(os.path.dirname(__file__), "step")


def _shifted() -> float:
    step = 0.0
    with suppress(OSError, ValueError), open(_file) as file:
        step = float(file.read())
    return _real() + step


time.time = _shifted
