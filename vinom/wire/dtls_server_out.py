"""What the server's end of DTLS sends and tells, and how its associations end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from vinom.wire.admission import Address
from vinom.wire.dtls_association import Association
from vinom.wire.dtls_channel import ChannelBroken, RecordError
from vinom.wire.dtls_events import Connected, Disconnected, Ending, Received
from vinom.wire.dtls_farewells import Farewells
from vinom.wire.records import cut_datagrams

ServerEvent = Connected[Association] | Received[Association] | Disconnected[Association]


class DtlsServerOut:
    """
    What `vinom.wire.dtls_server.DtlsServer` knows of its peers, and tells them.

    :ivar figures: handshakes by result, datagrams dropped by reason.
    """

    def __init__(self, mtu: int) -> None:
        self.figures: Counter[str] = Counter()
        self.datagrams_out = 0
        self._mtu = mtu
        self._open: dict[Address, Association] = {}
        self._handshaking: dict[Address, Association] = {}
        self._farewells = Farewells()
        self._events: list[ServerEvent] = []
        self._datagrams: list[tuple[bytes, Address]] = []

    def send(self, association: Association, *payloads: bytes) -> None:
        """
        Seal *payloads* for one peer; nothing happens if it is gone.

        They leave together, in as few datagrams as can be.

        :raises ValueError: one is empty or longer than the peer's ``max_payload``.
        """
        if not association.is_open:
            return
        channel = association.channel
        try:
            channel.send(*payloads)
        except ChannelBroken:
            # No goodbye follows, so no time is needed for keeping one.
            self._end(association, "failed", association.heard)
            return
        # Now, while what sealing used is in the processor's cache.
        address, datagrams = association.address, self._datagrams
        for datagram in channel.flush():
            datagrams.append((datagram, address))

    def send_each(self, payloads: Iterable[tuple[Association, bytes]]) -> None:
        """
        Seal one payload for each of some peers; as `send` in everything else.

        :raises ValueError: one is empty or longer than its peer's ``max_payload``.
        """
        # Done for each state, so written out as in `receive_play`.
        mtu, datagrams = self._mtu, self._datagrams
        for association, payload in payloads:
            most = association.max_payload
            if not 0 < len(payload) <= most:
                if not association.is_open:
                    continue
                raise ValueError(f"payload of {len(payload)} bytes, limit {most}")
            try:
                datagram = association.memory.seal_one(payload)
            except RecordError:
                self._end(association, "failed", association.heard)
                continue
            if len(datagram) <= mtu:
                datagrams.append((datagram, association.address))
            else:
                # Something of a handshake waited to go with it.
                self._give(cut_datagrams(datagram, mtu), association.address)

    def close(self, association: Association, now: float) -> None:
        """Say close_notify and forget the peer; makes no event."""
        self._end(association, None, now)

    def _end(self, association: Association, reason: Ending | None, now: float) -> None:
        address, channel = association.address, association.channel
        ended = association.end(reason)
        if ended is None:
            return
        if ended.was_open:
            del self._open[address]
        elif self._handshaking.get(address) is association:
            del self._handshaking[address]
        if ended.owes_goodbye:
            goodbye = channel.close()
            if goodbye and reason != "closed":
                self._farewells.keep(address, goodbye[-1:], now)
        else:
            goodbye = channel.flush()
        self._give(goodbye, address)
        if not ended.was_open:
            self.figures[f"handshake_{reason or 'closed'}"] += 1
        elif reason is not None:
            self._events.append(Disconnected(association, reason))

    @property
    def has_news(self) -> bool:
        """Are there events or datagrams to be taken?"""
        return bool(self._events or self._datagrams)

    def take_events(self) -> list[ServerEvent]:
        """What happened since the last call, oldest first."""
        events, self._events = self._events, []
        return events

    def take_datagrams(self) -> list[tuple[bytes, Address]]:
        """What is to be sent, with where to."""
        datagrams, self._datagrams = self._datagrams, []
        self.datagrams_out += len(datagrams)
        return datagrams

    def _give(self, datagrams: list[bytes], address: Address) -> None:
        for datagram in datagrams:
            self._datagrams.append((datagram, address))
