"""
Attack a lobby with useless lines, from 127.0.0.2 upward, until killed.

``python badlines.py PORT silent|slow|malformed RATE``: RATE new lines per second that
send nothing, or one byte per second each; or RATE malformed messages per second.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import sys
import time

#: Lines at once; the oldest is closed for a new one.
_MOST = 500
_BAD = (
    b'{"type": "hello"}\n',
    b'{"type": "hello", "data": {"protocol": 1, "name": 7}, "id": 1}\n',
    b'{"type": "queue", "data": []}\n',
    b"{{{{\n",
    b'{"type": "no such thing", "data": {"x": [[[[]]]]}}\n',
    b"\xff\xfe\x00\n",
    b'{"type": "ping", "data": {"x": "' + b"x" * 1500 + b'"}}\n',
)


def _open(port: int, number: int) -> socket.socket:
    host = f"127.0.{number // 200 % 200}.{2 + number % 200}"
    line = socket.create_connection(("127.0.0.1", port), 5, (host, 0))
    line.setblocking(False)
    return line


def main(port: int, kind: str, rate: float) -> None:
    """Attack forever."""
    lines: list[socket.socket] = []
    start = time.monotonic()
    for count in itertools.count(1):
        # The node may have closed the line, as it should.
        with contextlib.suppress(OSError):
            if kind == "malformed" and len(lines) >= 50:
                line = lines[count % len(lines)]
                try:
                    line.recv(65536)
                    line.send(_BAD[count % len(_BAD)])
                except BlockingIOError:
                    line.send(_BAD[count % len(_BAD)])
                except OSError:
                    lines[count % len(lines)] = _open(port, count)
            else:
                lines.append(_open(port, count))
                if kind == "slow":
                    lines[-1].send(b"{")
        if len(lines) > _MOST:
            lines.pop(0).close()
        if kind == "slow" and count % int(rate) == 0:
            for line in lines:
                with contextlib.suppress(OSError):
                    line.send(b" ")
        time.sleep(max(0.0, start + count / rate - time.monotonic()))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
