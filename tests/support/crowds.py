"""Players by the hundred: WebSockets with JSON, in parties, each with its habits."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from tests.support.fairness import Event
from tests.support.websockets import frame
from vinom.base.messages.catalogue import PROTOCOL

_HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
#: How long a player waits for an answer to its hello, seconds.
_PATIENCE = 5.0
#: Between two attempts to come back, seconds.
_AGAIN = 0.2


class Line(Protocol):
    """A WebSocket that carries JSON."""

    def __init__(self, host: bytes, guest: Guest) -> None:
        self._host, self._guest = host, guest
        self._data, self._is_open, self.is_closed = b"", False, False

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.transport.write(_HANDSHAKE % self._host)

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        if not self._is_open:
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head.partition(b"\r\n")[0]:
                self.transport.abortConnection()
                return
            self._data, self._is_open = rest, True
            self._guest.line_opened(self)
        self._read()

    def _read(self) -> None:
        while len(self._data) >= 2:
            size, start = self._data[1] & 0x7F, 2
            if size > 125:
                start = 4 if size == 126 else 10
                if len(self._data) < start:
                    return
                size = int.from_bytes(self._data[2:start])
            if len(self._data) < start + size:
                return
            kind, data = self._data[0] & 15, self._data[start : start + size]
            self._data = self._data[start + size :]
            if kind == 9:
                self.transport.write(frame(10, data))
            elif kind == 1:
                for message in json.loads(data):
                    self._guest.heard(self, message)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_closed = True
        self._guest.line_closed(self)

    def say(self, message: Mapping[str, Any]) -> None:
        """Send a message."""
        self.transport.write(frame(1, json.dumps(message).encode()))


@attrs.frozen
class Habits:
    """
    What players do, as probabilities.

    :ivar decline: a match that was found.
    :ivar silence: do not answer at all.
    :ivar cut: close the line when a match was found, or just after queueing.
    :ivar cancel: some time after queueing.
    :ivar pause: longest pause between two matches, seconds.
    """

    decline: float = 0.03
    silence: float = 0.01
    cut: float = 0.06
    cancel: float = 0.06
    pause: float = 0.5


GOOD = Habits(decline=0.0, silence=0.0, cut=0.0, cancel=0.0)


@attrs.define(eq=False)
class Crowd:
    """
    All players, and everything that happened to them.

    :ivar port: of the loopback, where they are served.
    :ivar queue: the name of their queue.
    :ivar game: its game.
    :ivar has_begun: do they queue?
    :ivar is_over: have they gone for good?
    """

    port: int
    queue: str
    game: str
    seed: int = 1
    habits: Habits = attrs.field(factory=Habits)
    events: list[Event] = attrs.field(factory=list)
    guests: list[Guest] = attrs.field(factory=list)
    groups: list[list[Guest]] = attrs.field(factory=list)
    has_begun: bool = False
    is_over: bool = False

    def add(self, sizes: list[int]) -> None:
        """Add groups of so many players."""
        for size in sizes:
            group: list[Guest] = []
            for _ in range(size):
                guest = Guest(self, len(self.guests), group)
                self.guests.append(guest)
                group.append(guest)
            self.groups.append(group)

    def ids(self) -> list[tuple[str, ...]]:
        """The ids of the players of each group."""
        return [tuple(one.player_id for one in group) for group in self.groups]

    def counts(self) -> Counter[str]:
        """Count what happened, for people."""
        return Counter(
            f"{event.way} {event.type}"
            + (f" {event.data['code']}" if event.is_error else "")
            for event in self.events
        )

    async def gather(self) -> None:
        """Have all come, and form their parties."""
        for guest in self.guests:
            guest.start()
        await self.until(lambda: all(one.is_back for one in self.guests))
        for group in self.groups:
            if len(group) > 1:
                await self._form(group)

    async def _form(self, group: list[Guest]) -> None:
        leader, *others = group
        formed = await leader.ask("create_party")
        for guest in others:
            await guest.ask(
                "join_party", party_id=formed["party_id"], token=formed["token"]
            )

    def begin(self) -> None:
        """Have all queue."""
        self.has_begun = True
        for guest in self.guests:
            guest.begin()

    async def come_again(self, within: float) -> None:
        """Have all close their lines and come back, spread over some seconds."""
        for number, guest in enumerate(self.guests):
            guest.later(within * number / len(self.guests), guest.cut)
        await deferLater(reactor, within + 0.5)

    async def until(self, is_so: Any, seconds: float = 30.0) -> None:
        """Wait; a bound on liveness."""
        give_up = reactor.seconds() + seconds
        while not is_so():
            if reactor.seconds() > give_up:
                lost = [one.name for one in self.guests if not one.is_back]
                raise AssertionError(f"not within {seconds} s; {lost} {self.counts()}")
            await deferLater(reactor, 0.05)

    def stop(self) -> None:
        """Let all go."""
        self.is_over = True
        for guest in self.guests:
            guest.stop()


class Guest:
    """
    One player, who comes back whenever its line is lost.

    :ivar player_id: as the first welcome said.
    :ivar is_back: was it welcome, and sent what it missed?
    """

    def __init__(self, crowd: Crowd, number: int, group: list[Guest]) -> None:
        self._crowd, self._group = crowd, group
        self._chance = random.Random(f"{crowd.seed} {number}")
        self.name = f"p{number}"
        self._source = f"127.{1 + number // 100}.0.{1 + number % 100}"
        self.player_id, self._key = "", ""
        self.is_back = False
        self._line: Line | None = None
        self._requests: dict[int, str] = {}
        self._answers: dict[int, Deferred[Mapping[str, Any]]] = {}
        self._last = 0
        self._calls: set[Any] = set()
        # Of the leader: may it queue? And the time at which it does.
        self._is_free = True
        self._queues: Any = None
        self._answered: dict[str, str] = {}
        self._match = ""

    @property
    def is_leader(self) -> bool:
        """Does it queue for its group?"""
        return self._group[0] is self

    # Lines.

    def start(self) -> None:
        """Come."""
        self.later(0.0, self._dial)

    def stop(self) -> None:
        """Go for good."""
        for call in tuple(self._calls):
            call.cancel()
        self._calls.clear()
        if self._line is not None and self._line.transport is not None:
            self._line.transport.abortConnection()

    def later(self, delay: float, call: Any, *args: Any) -> Any:
        """Do something later."""

        def run() -> None:
            self._calls.discard(waiting)
            call(*args)

        waiting = reactor.callLater(delay, run)
        self._calls.add(waiting)
        return waiting

    def _dial(self) -> None:
        if self._crowd.is_over or self._line is not None:
            return
        endpoint = TCP4ClientEndpoint(
            reactor, "127.0.0.1", self._crowd.port, _PATIENCE, (self._source, 0)
        )
        self._line = line = Line(b"127.0.0.1:%d" % self._crowd.port, self)
        connectProtocol(endpoint, line).addErrback(lambda _: self.line_closed(line))
        self.later(_PATIENCE, self._give_up, line)

    def _give_up(self, line: Line) -> None:
        if line is self._line and not self.is_back:
            if line.transport is None:
                self.line_closed(line)
            else:
                line.transport.abortConnection()

    def cut(self) -> None:
        """Close the line, without a word."""
        if self._line is not None and self.is_back:
            self._log("cut")
            line, self._line, self.is_back = self._line, None, False
            line.transport.abortConnection()
            self.later(self._chance.uniform(0.0, 0.5), self._dial)

    def line_opened(self, line: Line) -> None:
        """Say hello."""
        if line is not self._line:
            line.transport.abortConnection()
            return
        who = {"player_key": self._key} if self._key else {"name": self.name}
        self._say("hello", protocol=PROTOCOL, stay=True, **who)

    def line_closed(self, line: Line) -> None:
        """Come back after a while."""
        if line is self._line and not self._crowd.is_over:
            if self.is_back:
                self._log("closed")
            self._line, self.is_back = None, False
            for answer in self._answers.values():
                answer.errback(Failure(ConnectionError("the line closed")))
            self._answers.clear()
            self.later(_AGAIN, self._dial)

    # Messages.

    def _say(self, type: str, /, **data: Any) -> int:
        self._last += 1
        self._requests[self._last] = type
        if type not in ("hello", "ping"):
            self._log("sent", type, data)
        assert self._line is not None
        self._line.say({"type": type, "id": self._last, "data": data})
        return self._last

    def ask(self, type: str, /, **data: Any) -> Deferred[Mapping[str, Any]]:
        """Ask for something; returns the data of the answer."""
        answer: Deferred[Mapping[str, Any]] = Deferred()
        self._answers[self._say(type, **data)] = answer
        answer.addTimeout(20.0, reactor)
        return answer

    def _log(self, way: Any, type: str = "", data: Any = None, *more: Any) -> None:
        self._crowd.events.append(
            Event(reactor.seconds(), self.player_id, way, type, data or {}, *more)
        )

    def heard(self, line: Line, message: Mapping[str, Any]) -> None:
        """Take a message of the server."""
        if line is not self._line:
            return
        type, request = message["type"], message.get("id")
        asked = self._requests.pop(request, "")
        if type == "error":
            error = message["error"]
            self._log("received", asked, error, True)
            self._refused(asked, request, error)
            return
        data = message.get("data") or {}
        if type == "welcome":
            self.player_id, self._key = data["player_id"], data["player_key"]
        self._log("received", type, data)
        answer = self._answers.pop(request, None)
        if answer is not None:
            answer.callback(data)
        act = getattr(self, f"_on_{type}", None)
        if act is not None:
            act(data)

    def _refused(self, asked: str, request: Any, error: Mapping[str, Any]) -> None:
        details = error.get("details") or {}
        answer = self._answers.pop(request, None)
        if answer is not None:
            answer.errback(Failure(AssertionError(f"{asked} is refused: {error}")))
        if asked == "hello" and self._line is not None:
            self._line.transport.abortConnection()
        elif asked == "queue":
            if error["code"] == "already_queued":
                # It is sent what happens to its place.
                self._is_free = False
            else:
                self._queue_in(details.get("retry_after", 1.0) + 0.05)
        elif asked == "join_room" and error["code"] in ("busy", "store_unavailable"):
            self.later(details.get("retry_after", 0.5), self._play)

    def _on_welcome(self, data: Mapping[str, Any]) -> None:
        # Unless it is sent something else before the pong.
        self._is_free, self._match = True, ""
        self._say("ping")

    def _on_pong(self, data: Mapping[str, Any]) -> None:
        self.is_back = True
        self._play()
        if self.is_leader and self._is_free and self._crowd.has_begun:
            self._queue_in(self._chance.uniform(0.0, self._crowd.habits.pause))

    # Playing.

    def begin(self) -> None:
        """Queue for the first time, if it is the leader."""
        if self.is_leader:
            self._queue_in(self._chance.uniform(0.0, self._crowd.habits.pause))

    def _queue_in(self, delay: float) -> None:
        if self._queues is not None and self._queues.active():
            return
        self._queues = self.later(delay, self._queue)

    def _queue(self) -> None:
        if self.is_back and self._is_free and all(one.is_back for one in self._group):
            self._say("queue", queue=self._crowd.queue)
        # It may be refused, or the line be lost: as long as it is free, ask again.
        if self._is_free:
            self._queue_in(1.0)

    def _on_queue_status(self, data: Mapping[str, Any]) -> None:
        is_idle = data["state"] == "idle"
        if not self.is_leader:
            return
        was_free, self._is_free = self._is_free, is_idle
        if is_idle:
            self._queue_in(self._chance.uniform(0.0, self._crowd.habits.pause))
        elif was_free:
            habits = self._crowd.habits
            if self._chance.random() < habits.cancel:
                self.later(self._chance.uniform(0.0, 1.0), self._cancel)
            who = self._chance.choice(self._group)
            if self._chance.random() < habits.cut:
                who.later(self._chance.uniform(0.0, 1.0), who.cut)

    def _cancel(self) -> None:
        if self.is_back and not self._is_free:
            self._say("cancel")

    def _on_prematch(self, data: Mapping[str, Any]) -> None:
        prematch_id, habits, draw = (
            data["id"],
            self._crowd.habits,
            self._chance.random(),
        )
        if self.is_leader:
            self._is_free = False
        known = self._answered.get(prematch_id)
        if known is None:
            known = "accept"
            for answer in ("decline", "silence", "cut"):
                if draw < getattr(habits, answer):
                    known = answer
                    break
                draw -= getattr(habits, answer)
            if known == "cut":
                self.later(self._chance.uniform(0.0, 0.3), self.cut)
                known = "accept"
            self._answered[prematch_id] = known
        if known != "silence":
            delay = self._chance.uniform(0.0, 0.3)
            self.later(delay, self._answer, known, prematch_id)

    def _answer(self, answer: str, prematch_id: str) -> None:
        if self.is_back:
            self._say(answer, prematch_id=prematch_id)

    def _on_match_found(self, data: Mapping[str, Any]) -> None:
        self._is_free = False
        self._match = data["match_id"]
        self._play()

    def _play(self) -> None:
        if self.is_back and self._match:
            self._say("join_room", game=self._crowd.game, room_id=self._match)

    def _on_match_ended(self, data: Mapping[str, Any]) -> None:
        if data["match_id"] != self._match and self._match:
            return
        self._match = ""
        if self.is_leader:
            self._is_free = True
            self._queue_in(self._chance.uniform(0.0, self._crowd.habits.pause))
