"""One peer of a port, as `vinom.wire.dtls_server.DtlsServer` keeps it."""

from __future__ import annotations

from math import inf

import attrs

from vinom.model import Ticket
from vinom.wire.admission import Address
from vinom.wire.dtls_channel import Channel
from vinom.wire.dtls_events import Ending
from vinom.wire.dtls_life import Ended, LifeFacts, LifeInputs, Opened, open_life
from vinom.wire.dtls_memory import Memory


@attrs.define(eq=False)
class Association:
    """
    One peer's encrypted conversation with this port.

    Those who serve the peer may read the first five; the rest is the server's.

    :ivar ticket: what it showed; ``None`` for a client without server name.
    :ivar owner: for whoever serves this peer; never looked at here.
    :ivar max_payload: longest payload of one record, bytes; 0 while it is not open.
    :ivar memory: the channel's, while it is open.
    :ivar is_open: payloads can pass.
    :ivar random: of the ClientHello, to know its copies by.
    :ivar began: when the handshake began, seconds on the caller's clock.
    :ivar heard: when the peer last proved to be there.
    :ivar booked: its place in the server's agenda; others there are stale.
    """

    address: Address
    ticket: Ticket | None
    owner: object = attrs.field(default=None, init=False, repr=False)
    max_payload: int = attrs.field(default=0, init=False)
    is_open: bool = attrs.field(default=False, init=False)
    channel: Channel = attrs.field(kw_only=True, repr=False)
    memory: Memory = attrs.field(init=False, repr=False)
    random: bytes = attrs.field(kw_only=True, repr=False)
    began: float = attrs.field(kw_only=True, repr=False)
    heard: float = attrs.field(init=False, repr=False)
    booked: float = attrs.field(default=inf, init=False, repr=False)
    is_over: bool = attrs.field(default=False, init=False, repr=False)
    _facts: LifeFacts = attrs.field(factory=LifeFacts, init=False, repr=False)
    _life: LifeInputs = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.heard = self.began
        self._life = open_life(self._facts)

    def finish(self) -> None:
        """The handshake is done."""
        self._life.finish()
        self._act()

    def end(self, reason: Ending | None) -> Ended | None:
        """
        Stop.

        :return: what the end amounts to; ``None`` if it was over already.
        """
        self._life.end(reason)
        return self._act()

    def _act(self) -> Ended | None:
        ended = None
        for news in self._facts.outbox:
            if isinstance(news, Opened):
                self.is_open = True
                self.max_payload = self.channel.max_payload
                self.memory = self.channel.memory
            else:
                self.is_open = False
                self.max_payload = 0
                self.is_over = True
                ended = news
        self._facts.outbox.clear()
        return ended

    def due(self, idle: float, patience: float) -> float | None:
        """When it next wants attention, if nothing is heard until then."""
        if self.is_open:
            return self.heard + idle
        if self.is_over:
            return None
        resend = self.channel.deadline()
        expiry = self.began + patience
        return expiry if resend is None else min(resend, expiry)
