"""What tests let the fork server fork, called by name."""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from vinom.base.model import MatchEnd
from vinom.fleet.control.messages import (
    CONTROL_PROTOCOL,
    Alive,
    Bind,
    BindFailed,
    Bound,
    CloseRoom,
    Heartbeat,
    OpenRoom,
    Ready,
    RoomEnded,
    RoomOpened,
    Stop,
    decode_to_server,
    encode,
)
from vinom.fleet.local.outliving import outlives
from vinom.net.frames import FrameReader

WARMED_UP = []


def warm_up(settings: dict[str, Any]) -> None:
    """Called once in the fork server."""
    WARMED_UP.append((os.getpid(), settings))


def draw_early(settings: dict[str, Any]) -> None:
    """Rehearse in the fork server, and draw secrets there."""
    from vinom.fleet.gameserver.rehearsal import rehearse

    rehearse()
    draw("early", settings)


def draw(server_id: str, settings: dict[str, Any]) -> None:
    """Write down what should be nobody else's: by OpenSSL, and by cryptography."""
    # Here, because it takes long and no other process needs it.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from tests.support.certificates import authority
    from vinom.net.dtls.client import DtlsClient
    from vinom.net.dtls.records import random_of

    hello = DtlsClient("x.example", authority().anchor, 0.0)
    hello.start(0.0)
    key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    drawn = [random_of(hello.take_datagrams()[0]).hex(), key.hex()]
    path = Path(settings["folder"]) / server_id
    path.with_suffix(".part").write_text(json.dumps(drawn))
    path.with_suffix(".part").rename(path)


def report(server_id: str, settings: dict[str, Any]) -> None:
    """Write down what this process has and may, and stay."""
    facts = {
        "arguments": [server_id, settings],
        "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")),
        "environment": dict(os.environ),
        "pid": os.getpid(),
        "session": os.getsid(0),
        "ignores_interrupt": signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
        "memory": resource.getrlimit(resource.RLIMIT_AS),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "preloaded": "decimal" in sys.modules,
        "warmed_up": [said for pid, said in WARMED_UP if pid == os.getppid()],
        "collects": gc.isenabled(),
        "reactor": "twisted.internet.reactor" in sys.modules,
    }
    path = Path(settings["path"])
    path.with_suffix(".part").write_text(json.dumps(facts))
    path.with_suffix(".part").rename(path)
    stay(server_id, settings)


def stay(server_id: str, settings: dict[str, Any]) -> None:
    """Do nothing, for long."""
    time.sleep(60)


def stubborn(server_id: str, settings: dict[str, Any]) -> None:
    """Do not end when asked to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stay(server_id, settings)


def plays_on(server_id: str, settings: dict[str, Any]) -> None:
    """Hang with a match, or after another node has come; *settings* says which."""
    outlives(settings["how"])
    stubborn(server_id, settings)


def sign(settings: dict[str, Any]) -> None:
    """Write down which process this is."""
    Path(settings["signed"]).write_text(str(os.getpid()))


def end(server_id: str, settings: dict[str, Any]) -> None:
    """End as the settings say."""
    sign(settings)
    if settings.get("print"):
        print(settings["print"])
    if settings.get("raise"):
        raise RuntimeError("as asked")
    sys.exit(settings.get("status"))


def greedy(server_id: str, settings: dict[str, Any]) -> None:
    """Want more memory than there is."""
    sign(settings)
    bytearray(4 * 1024**3)


def play(server_id: str, settings: dict[str, Any]) -> None:
    """Be a game server, without players: bind, open, close, answer."""
    node = socket.socket(socket.AF_UNIX)
    node.connect(settings["control_socket"])
    node.sendall(encode(Ready(server_id, os.getpid(), CONTROL_PROTOCOL)))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    frames = FrameReader()
    while data := node.recv(65536):
        frames.receive(data)
        while (frame := frames.next_frame()) is not None:
            match decode_to_server(frame):
                case Bind() as bind:
                    try:
                        udp.bind((bind.interface, bind.port))
                    except OSError as error:
                        answer = BindFailed(bind.port, str(error))
                    else:
                        answer = Bound(bind.port)
                    node.sendall(encode(answer))
                case OpenRoom(plan):
                    node.sendall(encode(RoomOpened(plan.match_id)))
                case Heartbeat(number):
                    node.sendall(encode(Alive(number, {})))
                case CloseRoom(match_id, reason):
                    node.sendall(encode(RoomEnded(MatchEnd(match_id, reason))))
                    return
                case Stop():
                    return


def floods(server_id: str, settings: dict[str, Any]) -> None:
    """Print much more than anybody can read, and end."""
    for number in range(50_000):
        print("flood", number)


def chats(server_id: str, settings: dict[str, Any]) -> None:
    """Print once a file is there; then sign."""
    while not Path(settings["go"]).exists():
        time.sleep(0.01)
    for _ in range(3):
        print("Is anybody there?", flush=True)
        print("Nobody.", file=sys.stderr, flush=True)
    sign(settings)
