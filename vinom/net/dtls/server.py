"""
The server's end of every DTLS association of one port.

Datagrams and time go in; datagrams, events and the next deadline come out. The cost of
a datagram does not depend on the number of associations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable

from vinom.net.dtls.admission import Address, Admission, Admit, Answer
from vinom.net.dtls.association import (
    Agenda,
    Association,
    Farewells,
    FreedMemory,
    Handshakes,
    return_freed_memory,
)
from vinom.net.dtls.channel import (
    LONGEST_DATAGRAM,
    ChannelBroken,
    Connected,
    Disconnected,
    DtlsChannel,
    Ending,
    Received,
    RecordError,
    ending_of,
)
from vinom.net.dtls.context import ServerCertificates
from vinom.net.dtls.records import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    RECORD_HEADER,
    SHORTEST_SEALED,
    cut_datagrams,
    is_client_hello,
    random_of,
    shows_cookie,
)

ServerEvent = Connected[Association] | Received[Association] | Disconnected[Association]


_FLIGHT = (CHANGE_CIPHER_SPEC, HANDSHAKE)

#: How long no other hello from its address disturbs a handshake, and then its JOIN,
#: seconds. Somebody who can send in an address's name would otherwise end every
#: handshake there; with it, a client whose round trip is shorter than this comes in
#: if its hello was first. No client that was restarted is back sooner.
_UNDISTURBED = 0.25


class DtlsServer:
    """
    Admit strangers, shake hands, open and seal records, send goodbyes.

    Times are seconds on the caller's clock, which the tickets use, too (Unix epoch).

    :ivar admission: judges strangers.
    :ivar figures: handshakes by result, datagrams dropped by reason.
    :ivar events: events not taken yet, oldest first.
    :ivar datagrams: datagrams to send, each with its address.
    :ivar datagrams_in: how many were received.
    :ivar datagrams_out: how many were handed out for sending.
    :ivar has_moved: whether something may be due earlier than `deadline` returned; a
        caller that asks for it again sets this to ``False``.
    :ivar has_received: whether `received` got payloads; a caller that answers them
        sets this to ``False``.
    :ivar received: gets the payloads of associations that have an owner, at once;
        without it they become events.
    """

    received: Callable[[Association, bytes], None] | None = None

    def __init__(
        self,
        certificates: ServerCertificates,
        admission: Admission,
        *,
        idle: float = 30.0,
        timeout: float = 10.0,
        mtu: int = 1200,
        max_handshakes: int = 256,
        return_memory: Callable[[], None] = return_freed_memory,
    ) -> None:
        """
        Start without associations.

        :param certificates: prove to clients who this is.
        :param admission: judges strangers.
        :param idle: silence after which an association ends, seconds.
        :param timeout: longest handshake, seconds.
        :param mtu: longest datagram sent, bytes.
        :param max_handshakes: most handshakes at once; another one evicts the oldest.
        :param return_memory: called some time after handshakes were given up.
        """
        self.admission = admission
        self.figures: Counter[str] = Counter()
        self.events: list[ServerEvent] = []
        self.datagrams: list[tuple[bytes, Address]] = []
        self.datagrams_in = self.datagrams_out = 0
        self.has_moved, self.has_received = True, False
        self._certificates = certificates
        self._timeout, self._mtu = timeout, mtu
        self._open: dict[Address, Association] = {}
        # Those that are not proved, at the address of an open one that is.
        self._unproved: dict[Address, Association] = {}
        self._handshaking = Handshakes(max_handshakes, admission.unfinished)
        self._agenda = Agenda(idle, timeout)
        self._farewells = Farewells()
        self._freed, self._return_memory = FreedMemory(), return_memory

    @property
    def associations(self) -> Collection[Association]:
        """The associations whose handshake is finished."""
        return [*self._open.values(), *self._unproved.values()]

    @property
    def handshakes(self) -> int:
        """How many handshakes are in progress."""
        return len(self._handshaking)

    def receive_play(self, datagram: bytes, address: Address, now: float) -> bool:
        """
        Take a datagram if it looks like a player's: a payload after a handshake.

        :returns: ``False`` if not; then nothing was done: pass it to `receive`.
        """
        association = self._open.get(address)
        size = len(datagram)
        if (
            association is None
            or not RECORD_HEADER < size <= LONGEST_DATAGRAM
            or datagram[0] != APPLICATION_DATA
        ):
            return False
        if association.is_contested:
            if not self._open_contested(association, datagram, now):
                if self._handshaking.get(address) is not None:
                    # Perhaps that one can open it, once its last flight is read.
                    return False
                self.figures["dropped_unreadable"] += 1
            self.datagrams_in += 1
            return True
        self.datagrams_in += 1
        # This runs for each input, so the usual case is written out here, from
        # `is_one_record` to `_opened`; `_open_records` does all others.
        channel = association.channel
        if (
            (datagram[11] << 8 | datagram[12]) + RECORD_HEADER != size
            or size < RECORD_HEADER + SHORTEST_SEALED
            or channel.flight
        ):
            self._open_records(association, datagram, now)
            return True
        try:
            payload = association.memory.open_one(datagram)
        except RecordError as error:
            self._opened(association, [], ending_of(error), now)
        else:
            association.received_at = now
            received = self.received
            if received is not None and association.owner is not None:
                self.has_received = True
                received(association, payload)
            else:
                self.events.append(Received(association, payload))
        return True

    def is_known(self, address: Address) -> bool:
        """Has this address been admitted?"""
        return address in self._open or self._handshaking.get(address) is not None

    def receive(self, datagram: bytes, address: Address, now: float) -> None:
        """Take a datagram from any address."""
        self.datagrams_in += 1
        self.has_moved = True
        if not 0 < len(datagram) <= LONGEST_DATAGRAM:
            self.figures["dropped_size"] += 1
            return
        association = self._open.get(address)
        if association is not None and datagram[0] == APPLICATION_DATA:
            if not association.is_contested:
                self._open_records(association, datagram, now)
            elif not self._open_contested(association, datagram, now):
                self.figures["dropped_unreadable"] += 1
        else:
            self._receive_rarer(association, datagram, address, now)

    def overflowed(self, count: int, now: float) -> None:
        """Count *count* datagrams of strangers that there was no time for."""
        self.datagrams_in += count
        self.has_moved = True
        self.admission.overflowed(count, now)

    def _open_records(
        self, association: Association, datagram: bytes, now: float
    ) -> bool:
        """Open what a datagram holds; returns whether there were payloads."""
        payloads: list[bytes] = []
        ending = association.channel.receive(datagram, payloads)
        if datagram or payloads or ending is not None:
            self._opened(association, payloads, ending, now)
        return bool(payloads)

    def _open_contested(self, older: Association, datagram: bytes, now: float) -> bool:
        """
        Have each association of an address try to open a datagram.

        :returns: whether one could. If not, it may be for a handshake whose last
            datagram is handled later in this turn.
        """
        newer = self._unproved.get(older.address)
        for association in (older,) if newer is None else (older, newer):
            payloads: list[bytes] = []
            ending = association.channel.receive(datagram, payloads)
            if payloads or ending is not None:
                self._opened(association, payloads, ending, now)
                return True
        return False

    def _opened(
        self,
        association: Association,
        payloads: list[bytes],
        ending: Ending | None,
        now: float,
    ) -> None:
        """Handle the *payloads* of a datagram, and the *ending* it caused, if any."""
        if payloads:
            association.received_at = now
            association.channel.forget_flight()
            received = None if association.owner is None else self.received
            for payload in payloads:
                if received is not None:
                    self.has_received = True
                    received(association, payload)
                else:
                    self.events.append(Received(association, payload))
        elif ending is None:
            # Forged, or a copy: it does not even count as a sign of life.
            self.figures["dropped_unreadable"] += 1
        if ending is not None:
            self._end(association, ending, now)

    def _receive_rarer(
        self,
        association: Association | None,
        datagram: bytes,
        address: Address,
        now: float,
    ) -> None:
        """Take everything but payloads: handshakes, alerts, strangers, junk."""
        if is_client_hello(datagram):
            self._receive_hello(association, datagram, address, now)
            return
        newcomer = self._handshaking.get(address)
        newer = self._unproved.get(address)
        if newcomer is not None and datagram[0] in _FLIGHT:
            self._shake(newcomer, datagram, now)
        elif association is not None and newer is not None:
            if datagram[0] in _FLIGHT:
                # Only its peer may have missed our last flight.
                self._receive_control(newer, datagram, now)
            elif not self._open_contested(association, datagram, now):
                self.figures["dropped_unreadable"] += 1
        elif association is not None:
            self._receive_control(association, datagram, now)
        elif newcomer is not None:
            self.figures["dropped_early"] += 1
        else:
            self._answer_stranger(datagram, address, now)

    def _answer_stranger(self, datagram: bytes, address: Address, now: float) -> None:
        if datagram[0] == ALERT:
            # Most likely the close_notify that answers ours.
            self._farewells.forget(address)
        self._give(self._farewells.repeat(address, now), address)
        verdict = self.admission.judge(datagram, address, now)
        # A goodbye, repeated now and then, says more.
        if isinstance(verdict, Answer) and not self._farewells.has(address, now):
            self.datagrams.append((verdict.datagram, address))

    def _receive_hello(
        self,
        association: Association | None,
        datagram: bytes,
        address: Address,
        now: float,
    ) -> None:
        """
        Take a ClientHello, which a live association would ignore.

        Its sender may have restarted. It passes admission like a stranger, and its
        old association stays until the new handshake is finished.
        """
        random = random_of(datagram)
        newcomer = self._handshaking.get(address)
        if newcomer is not None and newcomer.random == random:
            # It has not received our flight, or this copy was slower than the flight.
            self._give(newcomer.channel.resend_asked(now), address)
            return
        newer = self._unproved.get(address, association)
        for finished in (association, newer):
            if finished is not None and finished.random == random:
                self.figures["dropped_late_hello"] += 1
                return
        if shows_cookie(datagram) and (
            (newcomer is not None and now < newcomer.began + _UNDISTURBED)
            or (
                newer is not None
                and not newer.is_proved
                and now < newer.finished_at + _UNDISTURBED
            )
        ):
            self.figures["dropped_hello_too_soon"] += 1
            return
        verdict = self.admission.judge(datagram, address, now)
        if isinstance(verdict, Answer):
            self.datagrams.append((verdict.datagram, address))
        elif isinstance(verdict, Admit):
            self._begin(verdict, datagram, address, now)

    def _begin(
        self, admit: Admit, datagram: bytes, address: Address, now: float
    ) -> None:
        older = self._handshaking.get(address)
        if older is not None:
            self._handshaking.remove(older)
            older.end()
            self._freed.add(now)
            self.figures["handshake_replaced"] += 1
        self._farewells.forget(address)
        newcomer = Association(
            address,
            admit.ticket,
            channel=DtlsChannel(self._certificates.of(admit.ticket), self._mtu),
            random=admit.hello.random,
            began=now,
        )
        self.figures["handshake_begun"] += 1
        try:
            flight = newcomer.channel.open_as_server(datagram, now)
        except ChannelBroken:
            # Nothing to agree on, so no key was exchanged. No alert: it would not be
            # encrypted, and this hello may be somebody else's.
            newcomer.end()
            self.figures["handshake_failed"] += 1
            self.admission.give_back(admit, address, now)
            self._mark(address)
            return
        oldest = self._handshaking.add(newcomer)
        if oldest is not None:
            oldest.end()
            self._freed.add(now)
            self._mark(oldest.address)
            self.figures["handshake_evicted"] += 1
        self._mark(address)
        self._give(flight, address)
        self._agenda.remember(newcomer)

    def _mark(self, address: Address) -> None:
        """Note whether an open association has to share its address."""
        association = self._open.get(address)
        if association is not None:
            association.is_contested = (
                address in self._unproved or self._handshaking.get(address) is not None
            )

    def _shake(self, newcomer: Association, datagram: bytes, now: float) -> None:
        channel, address = newcomer.channel, newcomer.address
        try:
            answer = channel.handshake_with_client(datagram, now)
        except ChannelBroken:
            self._end(newcomer, "failed", now)
            return
        if answer is None:
            self.figures["dropped_not_of_a_client"] += 1
            return
        self._give(answer, address)
        if not channel.is_finished:
            self._agenda.remember(newcomer)
            return
        self._handshaking.remove(newcomer)
        older = self._open.get(address)
        if older is not None and older.is_proved:
            # Anybody who sees a ticket and can send in this address's name can do
            # this, so the older one stays until `prove`.
            last = self._unproved.get(address)
            if last is not None:
                self._end(last, "replaced", now)
            self._unproved[address] = newcomer
        else:
            if older is not None:
                self._end(older, "replaced", now)
            self._open[address] = newcomer
        newcomer.finish(now)
        self._mark(address)
        self.figures["handshake_finished"] += 1
        self.events.append(Connected(newcomer))
        self._agenda.remember(newcomer)
        # The client's first payloads may have come in the same datagram.
        self._open_records(newcomer, b"", now)

    def rival_of(self, association: Association) -> Association | None:
        """Return the proved association that `prove` would end."""
        if self._unproved.get(association.address) is not association:
            return None
        return self._open[association.address]

    def prove(self, association: Association, now: float) -> None:
        """
        Note that an association's peer has proved who it is.

        It ends an older one at its address, and stays until another one there is
        proved.
        """
        if not association.is_open:
            return
        rival = self.rival_of(association)
        association.is_proved = True
        if rival is not None:
            # `_end` moves the newer one to its place.
            self._end(rival, "replaced", now)

    def _receive_control(
        self, association: Association, datagram: bytes, now: float
    ) -> None:
        """An alert, or a part of a finished handshake that the peer repeats."""
        if self._open_records(association, datagram, now) or association.is_over:
            return
        answer = association.channel.flush()
        if not answer and datagram[0] in _FLIGHT:
            # It asks for our last flight. OpenSSL answers new copies only, but a
            # client may repeat the same bytes.
            answer = association.channel.resend_asked(now)
        self._give(answer, association.address)

    def alarm(self, now: float) -> None:
        """Do what is due: repeat flights, end handshakes and idle associations."""
        for association in self._agenda.take_due(now):
            self._attend(association, now)
        self._farewells.expire(now)
        self.admission.alarm(now)
        if self._freed.is_due(now):
            self._return_memory()

    def _attend(self, association: Association, now: float) -> None:
        if association.is_open:
            self._end(association, "idle", now)
        elif now >= association.began + self._timeout:
            self._end(association, "timeout", now)
        else:
            self._give(association.channel.resend_due(now), association.address)

    def deadline(self) -> float | None:
        """When to call `alarm`, at the latest."""
        own = self._agenda.deadline()
        if own is None:
            own = self._farewells.deadline()
        others = own, self.admission.deadline(), self._freed.deadline()
        return min((at for at in others if at is not None), default=None)

    # What goes out.

    def send(self, association: Association, *payloads: bytes) -> None:
        """
        Seal *payloads* for one peer; does nothing if it is gone.

        They leave together, in as few datagrams as possible.

        :raises ValueError: one is empty or longer than the peer's ``max_payload``.
        """
        if not association.is_open:
            return
        channel = association.channel
        try:
            channel.send(*payloads)
        except ChannelBroken:
            # No goodbye is kept after this, so the time passed on is not used.
            self._end(association, "failed", association.received_at)
            return
        # Now, while the data that sealing used is in the processor's cache.
        address, datagrams = association.address, self.datagrams
        for datagram in channel.flush():
            datagrams.append((datagram, address))

    def send_each(self, payloads: Iterable[tuple[Association, bytes]]) -> None:
        """
        Seal one payload for each of some peers; otherwise as `send`.

        :raises ValueError: one is empty or longer than its peer's ``max_payload``.
        """
        # This runs for each state, so it is written out as in `receive_play`.
        mtu, datagrams = self._mtu, self.datagrams
        for association, payload in payloads:
            most = association.max_payload
            if not 0 < len(payload) <= most:
                if not association.is_open:
                    continue
                raise ValueError(
                    f"a payload must have 1 to {most} bytes, not {len(payload)}"
                )
            try:
                datagram = association.memory.seal_one(payload)
            except RecordError:
                self._end(association, "failed", association.received_at)
                continue
            if len(datagram) <= mtu:
                datagrams.append((datagram, association.address))
            else:
                # A part of a handshake was waiting to be sent with it.
                self._give(cut_datagrams(datagram, mtu), association.address)

    def close(self, association: Association, now: float) -> None:
        """Send close_notify and forget the peer; makes no event."""
        self._end(association, None, now)

    def _end(self, association: Association, reason: Ending | None, now: float) -> None:
        """
        Stop serving a peer.

        :param reason: ``None`` if our own side closes.
        """
        if association.is_over:
            return
        address, channel = association.address, association.channel
        was_open = association.end()
        self.has_moved = True
        if not association.is_proved:
            self._freed.add(now)
        if not was_open:
            self._handshaking.remove(association)
        elif self._unproved.get(address) is association:
            del self._unproved[address]
        else:
            del self._open[address]
            newer = self._unproved.pop(address, None)
            if newer is not None:
                self._open[address] = newer
        self._mark(address)
        if not was_open:
            # An alert would not be encrypted: some clients would believe it, but it
            # may answer what somebody else sent in their name.
            goodbye = []
        elif reason in ("failed", "replaced"):
            # The two OpenSSLs disagree, or a newer peer has its address.
            goodbye = channel.flush()
        else:
            goodbye = channel.close()
            if goodbye and reason != "closed":
                self._farewells.keep(address, goodbye[-1:], now)
        self._give(goodbye, address)
        if not was_open:
            self.figures[f"handshake_{reason or 'closed'}"] += 1
        elif reason is not None:
            self.events.append(Disconnected(association, reason))

    def take_events(self) -> list[ServerEvent]:
        """Return what happened since the last call, oldest first."""
        events, self.events = self.events, []
        return events

    def take_datagrams(self) -> list[tuple[bytes, Address]]:
        """Return the datagrams to send, each with its address."""
        datagrams, self.datagrams = self.datagrams, []
        self.datagrams_out += len(datagrams)
        return datagrams

    def _give(self, datagrams: list[bytes], address: Address) -> None:
        for datagram in datagrams:
            self.datagrams.append((datagram, address))
