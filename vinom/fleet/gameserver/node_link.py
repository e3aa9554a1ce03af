"""
Links a game server to its node: one control link after the other.

It dials once. When it has lost its node and has a match, a node either calls it, over
its mailbox (`vinom.fleet.local.outliving`), or it dials again until its lease is over.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress

import attrs
from msgspec.structs import replace
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorFDSet,
    IReactorSocket,
    IReactorTime,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.base.reactor.alarm import Timer
from vinom.fleet.control.link import ControlClient, answer, connect
from vinom.fleet.control.messages import AnyToServer, Known
from vinom.fleet.gameserver.server import GameServer
from vinom.fleet.local.forklink import Readable
from vinom.fleet.local.outliving import take_letter

#: Shortest and longest wait before the node is dialed again, seconds; half or more of
#: it at random, so that the game servers of a node do not all dial at once.
REDIAL_SECONDS = (0.1, 2.0)
#: How long a game server that has lost its node dials only that one, seconds: it may
#: have been started again, and no other node can have taken the game server over yet.
OWN_SECONDS = 3.0
#: Then it dials its own node every fourth time, and otherwise the others: one of them
#: takes it over when its node's lease is over.
_OWN_EACH = 4
#: Longest wait before the next of those is dialed, seconds: there may be many.
_OTHERS_SECONDS = 1.0
#: How long dialing again may take, seconds, with the handshake of TLS.
_DIAL_SECONDS = 5.0


class ILinkReactor(IReactorTime, IReactorFDSet, IReactorSocket):
    """The methods of a reactor that `NodeLink` uses."""


@attrs.frozen
class LinkOptions:
    """
    How a link to a node on another machine is made and watched.

    :ivar proof: proves its identity to the node, until the node sends a better secret.
    :ivar check: as for `vinom.fleet.control.link.ControlClient`.
    :ivar patience: how long to dial for the first link, seconds.
    :ivar silence: after this long without a byte a link is dead, seconds; 0 if the
        system notices lost links.
    :ivar others: connects to other nodes, one after the other; ``None`` if no other
        node can go on with its matches.
    """

    proof: Callable[[], bytes] = lambda: b""
    check: Callable[[ITCPTransport], None] | None = None
    patience: float = 0.0
    silence: float = 0.0
    others: IStreamClientEndpoint | None = None


class NodeLink:
    """Link a game server to its node, and again when a link is lost."""

    _log = Logger()

    def __init__(
        self,
        reactor: ILinkReactor,
        endpoint: IStreamClientEndpoint,
        program: GameServer,
        take_file: Callable[[int], None],
        chance: Callable[[], float],
        options: LinkOptions | None = None,
    ) -> None:
        """
        :param reactor: watches links.
        :param endpoint: where the node accepts links.
        :param program: the game server.
        :param take_file: gets the open files that the node passes for matches.
        :param chance: returns random numbers from 0 to 1.
        :param options: what is different if the node is on another machine.
        """
        options = options or LinkOptions()
        self._proof, self._check = options.proof, options.check
        self._others, self._silence = options.others, options.silence
        self._own_until, self._dials = 0.0, 0
        self._quiet: IDelayedCall | None = None
        self._give_up_at = reactor.seconds() + options.patience
        self._reactor, self._endpoint, self._program = reactor, endpoint, program
        self._take_file, self._chance = take_file, chance
        self._client: ControlClient | None = None
        self._dialing: Deferred[None] | None = None
        self._redial = Timer(self._reactor)
        self._wait = REDIAL_SECONDS[0]
        self._mailbox: int | None = None
        self._letters: Readable | None = None
        self._is_closed = False
        # Has the node sent anything over the present link?
        self._has_answered = False

    def open(self) -> Deferred[None]:
        """Dial for the first time; fails if no link can be made."""
        self._dialing = Deferred.fromCoroutine(self._open())
        return self._dialing

    async def _open(self) -> None:
        while True:
            client = self._make_client()
            try:
                await connect(self._endpoint, client)
            except Exception as error:
                seconds = self._pause()
                if self._is_closed:
                    return
                if self._reactor.seconds() + seconds > self._give_up_at:
                    raise
                self._log.info("cannot reach the node yet: {why}", why=str(error))
                await deferLater(self._reactor, seconds)
            else:
                self._linked(client)
                return

    def _pause(self) -> float:
        """Choose how long to wait before the node is dialed again."""
        most = REDIAL_SECONDS[1] if self._others is None else _OTHERS_SECONDS
        seconds = self._wait * (1 + self._chance()) / 2
        self._wait = min(2 * self._wait, most)
        return seconds

    def close(self) -> None:
        """Send the remaining messages, and make no more links."""
        self._is_closed = True
        self._stop_listening()
        self._redial.cancel()
        if self._client is not None:
            self._client.close()

    def _make_client(self) -> ControlClient:
        # Read when the link is made, because matches go on meanwhile.
        program = self._program
        client = ControlClient(
            self._reactor,
            lambda: replace(program.ready(os.getpid()), secret=self._proof()),
            self._received,
            lambda: self._lost(client),
            self._given,
            self._check,
            self._program.caught_up,
        )
        return client

    def _received(self, message: AnyToServer) -> None:
        if self._quiet is not None:
            self._quiet.reset(self._silence)
        if not self._has_answered:
            # One that refuses a link sends nothing.
            self._has_answered, self._wait = True, REDIAL_SECONDS[0]
        if isinstance(message, Known):
            self._proof = lambda: message.secret
        else:
            self._program.received(message)

    def _linked(self, client: ControlClient) -> None:
        self._has_answered = False
        self._stop_listening()
        if self._silence:
            # A node sends a heartbeat each second.
            self._quiet = self._reactor.callLater(self._silence, self._dead, client)
        older, self._client = self._client, client
        if older is not None:
            older.abort()
        self._program.linked(
            client.send, client.is_behind, client.is_lossy, client.send_all
        )

    def _lost(self, client: ControlClient) -> None:
        if client is not self._client:
            return
        self._client = None
        self._stop_listening()
        if self._has_answered:
            self._own_until = self._reactor.seconds() + OWN_SECONDS
            self._dials = 0
        else:
            # It refused: another node has this game server, or may get it.
            self._own_until = 0.0
        self._program.unlinked()
        self._dial_again()

    def _dead(self, client: ControlClient) -> None:
        self._quiet = None
        self._log.warn("nothing came from the node for {s:g} s", s=self._silence)
        client.abort()

    def _stop_listening(self) -> None:
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None

    # Dialing again.

    def _dial_again(self) -> None:
        if self._is_closed or self._mailbox is not None or self._redial.is_running:
            return
        if not self._program.plays_on:
            return
        self._redial.start(self._pause(), self._dial)

    def _dial(self) -> None:
        client = self._make_client()
        dialing = connect(self._choose(), client)
        # A node that is stopped accepts connections, but does no handshake.
        dialing.addTimeout(_DIAL_SECONDS, self._reactor)
        dialing.addCallbacks(self._linked, self._not_reached, errbackArgs=(client,))

    def _choose(self) -> IStreamClientEndpoint:
        """Choose the node to dial: its own, or the next of the others."""
        if self._others is None or self._reactor.seconds() < self._own_until:
            return self._endpoint
        self._dials += 1
        return self._others if self._dials % _OWN_EACH else self._endpoint

    def _not_reached(self, failure: Failure, client: ControlClient) -> None:
        client.abort()
        if failure.check(CancelledError) is None:
            self._log.debug("cannot reach a node: {why}", why=failure.getErrorMessage())
        self._dial_again()

    # Being called.

    def _given(self, descriptor: int) -> None:
        """The node passes an open file: the mailbox, or one for a match."""
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            self._take_file(descriptor)
            return
        if self._mailbox is not None and self._letters is not None:
            # This one was made for a port that was in use, and has no name any more.
            self._reactor.removeReader(self._letters)
            os.close(self._mailbox)
        self._mailbox = descriptor
        self._letters = Readable(descriptor, self._take_letter)
        self._reactor.addReader(self._letters)

    def _take_letter(self) -> None:
        assert self._mailbox is not None
        letter = take_letter(self._mailbox)
        if letter is None:
            return
        link, output = letter
        try:
            # Output goes to the log of the node that called.
            for standard in (1, 2):
                os.dup2(output, standard)
            client = self._make_client()
            answer(self._reactor, link, client)
            self._linked(client)
        except (OSError, ValueError) as error:
            # For example, the first message is too long; the node will call again.
            with suppress(OSError):
                self._log.error("cannot answer the node: {why}", why=str(error))
        finally:
            os.close(output)
            os.close(link)
