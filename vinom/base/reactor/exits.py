"""How a program ends that twistd runs."""

from __future__ import annotations

import atexit
import os
import sys

from vinom.base.printable import say


def fail_at_exit(sentence: str) -> None:
    """
    Have this process end with status 1, though its reactor stopped as if all were well.

    twistd returns 0 then, and has no place to say otherwise: it discards what is raised
    while the reactor runs.

    :param sentence: to standard error, which twistd itself sends to the log.
    """
    if sys.__stderr__ is not None:
        say(sentence, file=sys.__stderr__)
    atexit.register(_fail)


def _fail() -> None:
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    os._exit(1)
