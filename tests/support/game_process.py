"""A real game server in a process of its own, whose node is the test."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, TypeVar

from tests.support.certificates import leaf, signing_key
from tests.support.ending import end
from vinom.base.model import MatchPlan, SeatPlan, Ticket
from vinom.fleet.control.messages import (
    AddTicket,
    Bind,
    Bound,
    OpenRoom,
    Ready,
    RoomOpened,
    TicketAdded,
    decode_to_node,
    encode,
)
from vinom.net.frames import FrameReader
from vinom.tools.commands.child_node import free_port_range

REALM = "game.vinom"
ROOMS = 32
_PATIENCE = 30.0
_MAIN = (
    "import sys, json; from vinom.fleet.gameserver.main import main; "
    "main('s1', json.loads(sys.argv[1]))"
)

Kind = TypeVar("Kind")


class GameProcess:
    """
    A game server with rooms of two seats each.

    :ivar port: its UDP port on 127.0.0.1.
    :ivar pid: its process.
    """

    def __init__(self, folder: Path, game: str = "maze:Maze", **settings: Any) -> None:
        """
        Start it, and wait until its rooms are open.

        :param folder: an empty directory with a short path.
        :param game: its module in `vinom.games`, and its class.
        :param settings: more of its settings.
        """
        self._listener = socket.socket(socket.AF_UNIX)
        path = str(folder / "control")
        self._listener.bind(path)
        self._listener.listen()
        self._listener.settimeout(_PATIENCE)
        read = {
            "control": f"unix:{path}",
            "installed": [],
            "games": [f"vinom.games.{game}"],
            "rooms_per_process": ROOMS,
            "join_seconds": 300.0,
            **settings,
        }
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, json.dumps(read)],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={k: v for k, v in os.environ.items() if not k.startswith("VINOM_")},
        )
        self.pid = self._process.pid
        self._link, _ = self._listener.accept()
        self._link.settimeout(_PATIENCE)
        self._frames = FrameReader()
        self._await(Ready)
        self.port, _ = free_port_range(1)
        certificate = leaf(f"s1.{REALM}")
        self._send(
            Bind(
                interface="127.0.0.1",
                port=self.port,
                server="s1",
                realm=REALM,
                certificate=certificate.certificate,
                key=certificate.key,
                token_keys={"k1": signing_key()[1]},
            )
        )
        self._await(Bound)
        seats = tuple(SeatPlan(f"p{seat}", f"name {seat}") for seat in range(2))
        for room in range(ROOMS):
            plan = MatchPlan(f"m{room}", game.partition(":")[0], seats, seed=7)
            self._send(OpenRoom(plan, ()))
            self._await(RoomOpened)

    def add_ticket(self, number: int, seat: int) -> str:
        """
        Make a ticket known, as the lobby does.

        :param number: another one for each ticket.
        :param seat: counts the seats of all rooms, and begins again after the last.
        :returns: the server name.
        """
        label = f"n{number:06d}".replace("0", "a").replace("1", "b").replace("8", "c")
        label = label.replace("9", "d").ljust(26, "z")
        match_id = f"m{seat // 2 % ROOMS}"
        self._send(AddTicket(Ticket(label, match_id, seat % 2, time.time() + 600)))
        self._await(TicketAdded)
        return f"{label}.s1.{REALM}"

    @property
    def resident(self) -> int:
        """Its resident memory, bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
        raise AssertionError("the game server has ended")

    def stop(self) -> None:
        """End it."""
        self._link.close()
        self._listener.close()
        end(self._process)
        self._log.close()

    def _send(self, message: Any) -> None:
        self._link.sendall(encode(message))

    def _await(self, kind: type[Kind]) -> Kind:
        """Wait for a message of one kind; others are dropped."""
        while True:
            while (frame := self._frames.next_frame()) is not None:
                message = decode_to_node(frame)
                if isinstance(message, kind):
                    return message
            data = self._link.recv(65536)
            if not data:
                raise AssertionError("the game server has ended")
            self._frames.receive(data)
