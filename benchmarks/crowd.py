"""Players at lobby lines who queue, many at once or two at a time."""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence

import attrs

from benchmarks.machine import Failed
from vinom.base.messages.catalogue import PROTOCOL

GAME = "tictactoe"
_SEATS = 2
#: A queue is over when this long nobody was sent anything, seconds.
_SILENCE = 0.5
_PATIENCE = 60.0
#: Players who wait at the same time, at most.
_WAITING = 400


@attrs.define(eq=False)
class _Player:
    """
    A line to a lobby.

    :ivar found_at: when it was sent its match; 0 before that.
    """

    line: socket.socket
    held: bytes = b""
    is_welcome: bool = False
    is_queued: bool = False
    found_at: float = 0.0
    match_ids: set[str] = attrs.field(factory=set)


def _message(kind: str, **data: object) -> bytes:
    return json.dumps({"type": kind, "data": data}).encode() + b"\n"


class Crowd:
    """
    Players who have said hello, each at the next one of some nodes.

    It checks what they are sent: nobody may be in two matches, and each match has two
    players.
    """

    def __init__(self, ports: Sequence[int], count: int) -> None:
        """
        Say hello.

        :param ports: of the lobbies.
        :param count: of players.
        """
        self._selector = selectors.DefaultSelector()
        self._players: list[_Player] = []
        self._found = 0
        for number in range(count):
            port = ports[number % len(ports)]
            line = socket.create_connection(("127.0.0.1", port), 10)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            player = _Player(line)
            self._players.append(player)
            self._selector.register(line, selectors.EVENT_READ, player)
            line.sendall(
                _message("hello", protocol=PROTOCOL, name=f"p{number}", stay=True)
            )
            if not number % 100:
                self._read(0.0)
        self._await("are welcome", lambda one: one.is_welcome, self._players)

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *error: object) -> None:
        for player in self._players:
            player.line.close()
        self._selector.close()

    def queue(self) -> float:
        """
        Have all queue, each as soon as few enough others wait for their match.

        :returns: players per second, from the first request to the last match.
        """
        began = time.perf_counter()
        give_up = began + _PATIENCE
        asked = found = 0
        while found < len(self._players):
            while asked < len(self._players) and asked - found < _WAITING:
                self._players[asked].line.sendall(_message("queue", game=GAME))
                asked += 1
            if time.perf_counter() > give_up:
                raise Failed(f"{found} of {len(self._players)} have a match")
            self._read(0.05)
            found = self._found
        seconds = time.perf_counter() - began
        self._check()
        return len(self._players) / seconds

    def queue_in_pairs(self) -> list[float]:
        """
        Have two queue after each other, then two others, and so on.

        :returns: how long each second one, and the one who waited for it, were not sent
            their match after its request, seconds.
        """
        waits = []
        for first, second in zip(self._players[::2], self._players[1::2], strict=True):
            first.line.sendall(_message("queue", game=GAME))
            self._await("are queued", lambda one: one.is_queued, [first])
            # What its place caused is over: the system is idle.
            time.sleep(0.01)
            began = time.perf_counter()
            second.line.sendall(_message("queue", game=GAME))
            pair = [first, second]
            self._await("have a match", lambda one: bool(one.found_at), pair)
            waits += [one.found_at - began for one in pair]
        self._check()
        return waits

    def _await(
        self, what: str, fits: Callable[[_Player], bool], players: Sequence[_Player]
    ) -> None:
        left = {player for player in players if not fits(player)}
        give_up = time.perf_counter() + _PATIENCE
        while left:
            if time.perf_counter() > give_up:
                raise Failed(
                    f"{len(players) - len(left)} of {len(players)} players {what} "
                    f"after {_PATIENCE:g} s"
                )
            for player in self._read(0.05):
                if fits(player):
                    left.discard(player)

    def _read(self, seconds: float) -> list[_Player]:
        """Read what comes; returns whose lines it came on."""
        readable = [key.data for key, _ in self._selector.select(seconds)]
        for player in readable:
            data = player.line.recv(65536)
            if not data:
                raise Failed("a node closed a line")
            *messages, player.held = (player.held + data).split(b"\n")
            for message in messages:
                self._take(player, message)
        return readable

    def _take(self, player: _Player, message: bytes) -> None:
        found = json.loads(message)
        kind = found["type"]
        if kind == "match_found":
            if not player.found_at:
                player.found_at = time.perf_counter()
                self._found += 1
            player.match_ids.add(found["data"]["match_id"])
        elif kind == "welcome":
            player.is_welcome = True
        elif kind == "queue_status":
            player.is_queued = True
        elif kind == "error":
            raise Failed(f"refused: {found['error']}")

    def _check(self) -> None:
        """Nobody is in two matches, nor in one that others lack."""
        while self._read(_SILENCE):
            pass
        twice = sum(len(player.match_ids) > 1 for player in self._players)
        if twice:
            raise Failed(f"{twice} players were booked twice")
        matches = Counter(
            match_id for player in self._players for match_id in player.match_ids
        )
        odd = sum(count != _SEATS for count in matches.values())
        if odd:
            raise Failed(f"{odd} matches do not have {_SEATS} players")
