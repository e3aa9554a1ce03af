"""
Record which functions of a package a running process calls.

`benchmarks.trips.node` loads this into a node when its interpreter starts. Forked
children inherit it. The recorded package needs no change for it.

SIGUSR2 starts a recording, and the next SIGUSR2 ends it. The process reports both with
a file named after its process id: ``1234.started`` is empty, and ``1234.json`` holds
what was recorded. Only the main thread is recorded.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

#: Code objects that are a part of the function around them, and modules that load.
_NO_FUNCTIONS = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"})
_NO_CALLS = _NO_FUNCTIONS | {"<module>"}
_READS = frozenset({"recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg"})
_SENDS = frozenset({"send", "sendall", "sendto", "sendmsg"})
_POLLERS = tuple(
    getattr(select, name) for name in ("epoll", "poll") if hasattr(select, name)
)


class Event(NamedTuple):
    """
    One thing that a process did.

    :ivar at: when, nanoseconds of `time.monotonic_ns`, which all processes share.
    :ivar kind: ``"call"`` of a function, ``"wait"`` and ``"wake"`` (the reactor's wait
        for events begins and ends), a ``"read"`` of something from a socket, or a
        ``"send"`` that begins.
    :ivar module: of a call: the file's path in the package, dotted, without ``.py``.
    :ivar function: of a call: its qualified name.
    :ivar line: of a call: where the function begins.
    :ivar depth: of a call: how many calls of the package are below it on the stack.
    """

    at: int
    kind: str
    module: str = ""
    function: str = ""
    line: int = 0
    depth: int = 0


class Recorder:
    """
    Keep the events of this thread between `start` and `stop`.

    :param package: the folder whose files count.
    :ivar events: what happened, in order.
    """

    def __init__(self, package: Path) -> None:
        self._prefix = f"{package}{os.sep}"
        self.events: list[Event] = []

    def start(self) -> None:
        """Forget what was recorded, and record."""
        self.events.clear()
        sys.setprofile(self._profile)

    def stop(self) -> None:
        """Record no more."""
        sys.setprofile(None)

    def _profile(self, frame: FrameType, what: str, called: Any) -> None:
        if what == "call":
            if self._counts(frame.f_code):
                self._note_call(frame)
        elif what == "c_call":
            if called.__name__ in _SENDS and _is_of(called, socket.socket):
                self._note("send")
            elif called.__name__ == "poll" and _is_of(called, *_POLLERS):
                self._note("wait")
        elif what == "c_return":
            if called.__name__ == "poll" and _is_of(called, *_POLLERS):
                self._note("wake")
            elif called.__name__ in _READS and _is_of(called, socket.socket):
                self._note("read")

    def _note(self, kind: str) -> None:
        self.events.append(Event(time.monotonic_ns(), kind))

    def _note_call(self, frame: FrameType) -> None:
        code, depth, below = frame.f_code, 0, frame.f_back
        while below is not None:
            depth += self._counts(below.f_code)
            below = below.f_back
        path = code.co_filename.removeprefix(self._prefix).removesuffix(".py")
        self.events.append(
            Event(
                time.monotonic_ns(),
                "call",
                path.replace(os.sep, "."),
                code.co_qualname,
                code.co_firstlineno,
                depth,
            )
        )

    def _counts(self, code: CodeType) -> bool:
        return (
            code.co_filename.startswith(self._prefix) and code.co_name not in _NO_CALLS
        )


def _is_of(called: Any, *kinds: type) -> bool:
    return isinstance(getattr(called, "__self__", None), kinds)


def record_on_signal(package: Path, folder: Path) -> Callable[[int, object], None]:
    """
    Let SIGUSR2 start and end recordings of this process, and of those it forks.

    :param package: the folder whose files count.
    :param folder: where the recordings go.
    """
    recorder, is_recording = Recorder(package), False

    def turn(number: int, frame: object) -> None:
        nonlocal is_recording
        is_recording = not is_recording
        if is_recording:
            _write(folder / f"{os.getpid()}.started", "")
            recorder.start()
        else:
            recorder.stop()
            _write(folder / f"{os.getpid()}.json", json.dumps(recorder.events))

    signal.signal(signal.SIGUSR2, turn)
    return turn


def _write(path: Path, text: str) -> None:
    """Write a file that others see only when it is whole."""
    part = path.with_suffix(".part")
    part.write_text(text)
    part.rename(path)
