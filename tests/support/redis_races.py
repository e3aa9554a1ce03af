"""What is in a real Redis, and a client that waits for its answers."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import attrs
from msgspec import json
from twisted.internet.defer import Deferred, fail, succeed

from tests.support.redis_servers import RedisServer
from vinom.base.model import Party, Prematch, QueueEntry
from vinom.errors import LeaseLost
from vinom.store.redis.client import Owner, Script

#: No call is late: late ones have tests of their own.
_NEVER = str(1 << 52)
#: Nobody is subscribed: messages are read from lists, unless nobody listens (KEYS[4]).
_PUBLISH = """
local function publish(channel, message)
  if string.find(KEYS[4], channel .. ' ', 1, true) then return 0 end
  redis.call('RPUSH', channel, message)
  return 1
end
"""


class Line:
    """A connection to Redis that waits for its answers."""

    def __init__(self, server: RedisServer) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), 10)
        self._answers = self._socket.makefile("rb")

    def ask(self, *parts: str | bytes) -> Any:
        encoded = [one if isinstance(one, bytes) else one.encode() for one in parts]
        self._socket.sendall(
            b"*%d\r\n" % len(encoded)
            + b"".join(b"$%d\r\n%s\r\n" % (len(one), one) for one in encoded)
        )
        return self._read()

    def close(self) -> None:
        self._answers.close()
        self._socket.close()

    def _read(self) -> Any:
        line = self._answers.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise AssertionError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"+":
            return rest
        if kind == b"*":
            return [self._read() for _ in range(int(rest))]
        return None if rest == b"-1" else self._answers.read(int(rest) + 2)[:-2]


class WaitingClient:
    """
    Runs steps as `vinom.store.redis.client.RedisClient` does, and waits for each.

    :ivar published: called after steps that may publish something.
    :ivar deaf: lists the nodes that get nothing that is published.
    """

    def __init__(
        self, line: Line, node_id: str, prefix: str, now: Callable[[], float]
    ) -> None:
        self.owner, self.prefix, self._line = Owner(node_id), prefix, line
        self._now = now
        self.turns = SimpleNamespace(call=lambda call: call())  # One call in each.
        self.published: Callable[[], None] = lambda: None
        self.deaf: Callable[[], list[str]] = list

    def run(self, script: Script, *args: str | bytes) -> Deferred[Any]:
        text = script.text.replace("call('TIME')", "{ KEYS[2], KEYS[3] }")
        publishes = "call('PUBLISH', " in text
        text = _PUBLISH + text.replace("call('PUBLISH', ", "publish(")
        seconds, part = divmod(self._now(), 1)
        found = self._line.ask(
            *("EVAL", text, "4", self.prefix, str(int(seconds)), str(int(part * 1e6))),
            "".join(f"{self.prefix}to:{one} " for one in self.deaf()),
            *(_NEVER, self.owner.node_id, str(self.owner.lease), *args),
        )
        if found == b"STALE":
            return fail(LeaseLost("the lease of this node is over"))
        assert found != b"LATE"
        if publishes:
            self.published()
        return succeed(found)


class Found:
    """What is in Redis now, in the words of the stores in memory."""

    def __init__(self, line: Line, prefix: str) -> None:
        self._line, self._prefix = line, prefix

    def _all(self, sort: str) -> dict[str, dict[bytes, bytes]]:
        """Read all hashes of a sort, by id."""
        start = f"{self._prefix}{sort}:"
        found = {}
        for key in sorted(self._line.ask("KEYS", f"{start}*")):
            fields = self._line.ask("HGETALL", key)
            pairs = dict(zip(fields[::2], fields[1::2], strict=True))
            found[key.decode().removeprefix(start)] = pairs
        return found

    # In the words of `MemoryLobbyStore`.

    @property
    def state(self) -> Found:
        return self

    @property
    def queues(self) -> Found:
        return self

    @property
    def entries(self) -> dict[str, QueueEntry]:
        return {
            one: json.decode(fields[b"data"], type=QueueEntry)
            for one, fields in self._all("entry").items()
            if b"match" not in fields
        }

    @property
    def of_entries(self) -> set[str]:
        keys = self._line.ask("KEYS", f"{self._prefix}queue:*:places")
        places = [
            one for key in keys for one in self._line.ask("ZRANGE", key, "0", "-1")
        ]
        return {one.decode().split(":", 2)[2] for one in places}

    @property
    def prematch_of(self) -> dict[str, str]:
        asked = {
            one: fields.get(b"prematch", b"").decode()
            for one, fields in self._all("entry").items()
        }
        return {entry_id: prematch for entry_id, prematch in asked.items() if prematch}

    @property
    def prematches(self) -> dict[str, Prematch]:
        return {
            one: json.decode(fields[b"data"], type=Prematch)
            for one, fields in self._all("prematch").items()
        }

    @property
    def parties(self) -> dict[str, Party]:
        return {
            one: attrs.evolve(
                json.decode(fields[b"data"], type=Party),
                state=fields[b"state"].decode(),
                entry_id=fields[b"entry"].decode(),
            )
            for one, fields in self._all("party").items()
        }

    @property
    def party_of(self) -> dict[str, str]:
        return {
            name: one
            for one, party in self.parties.items()
            for name in party.player_ids
        }

    @property
    def running(self) -> dict[str, Any]:
        asked, found = f"{self._prefix}match-of:", {}
        for one, fields in self._all("match").items():
            names = fields[b"players"].decode().split("\n")
            its = [n for n in names if self._line.ask("GET", asked + n) == one.encode()]
            found[one] = SimpleNamespace(players=its)
        return found

    @property
    def match_of(self) -> set[str]:
        """List the players of running matches."""
        start = f"{self._prefix}match-of:"
        keys = self._line.ask("KEYS", f"{start}*")
        return {key.decode().removeprefix(start) for key in keys}
