"""Addresses of host names, remembered: connecting must not wait for a DNS server."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHostnameResolver,
    IHostResolution,
    IReactorTime,
    IResolutionReceiver,
)
from twisted.logger import Logger
from zope.interface import implementer

from vinom.base.limits.logged import BoundedLog

_log = Logger()

#: Addresses of this age are used at once, and looked up again meanwhile, seconds.
FRESH_SECONDS = 5.0
#: Addresses that could not be looked up again for this long are not used, seconds.
STALE_SECONDS = 3600.0
#: How long a first look-up may take, seconds.
LOOKUP_SECONDS = 3.0
#: A look-up that is not answered for this long is given up, and made again, seconds.
LOST_SECONDS = 30.0
#: Most names that are remembered.
_MOST = 4096

_Key = tuple[str, int, tuple[type[IAddress], ...] | None, str]


@attrs.define(eq=False)
class _Name:
    """
    One name.

    :ivar addresses: its addresses when it was last looked up.
    :ivar found: when that was; ``None`` before the first time.
    :ivar asked: when the look-up under way began; ``None`` if there is none.
    :ivar waiting: the receivers that wait for it, each with its deadline.
    """

    addresses: Sequence[IAddress] = ()
    found: float | None = None
    asked: float | None = None
    waiting: dict[IResolutionReceiver, IDelayedCall] = attrs.field(factory=dict)


@implementer(IHostResolution)
class _Resolution:
    """A look-up by name; whoever asked may give up waiting."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """Do nothing: others may wait for the answer."""


@implementer(IHostnameResolver)
class RememberedNames:
    """
    A resolver for ``installNameResolver`` in front of the reactor's own one.

    A name is looked up once, by one request at a time, however many connections are
    made to it. After `FRESH_SECONDS` its addresses are still used at once, and looked
    up again for the next connections. If that fails, the last ones stay in use.
    """

    def __init__(self, inner: IHostnameResolver, clock: IReactorTime) -> None:
        """
        :param inner: looks names up.
        :param clock: the clock.
        """
        self.inner, self._clock = inner, clock
        self._bounded_log = BoundedLog(_log, clock)
        self._names: OrderedDict[_Key, _Name] = OrderedDict()

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Find the addresses of a name (`IHostnameResolver`)."""
        types = None if addressTypes is None else tuple(addressTypes)
        key = (hostName, portNumber, types, transportSemantics)
        name = self._names.setdefault(key, _Name())
        self._names.move_to_end(key)
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        now = self._clock.seconds()
        age = STALE_SECONDS if name.found is None else now - name.found
        is_asked = name.asked is not None and now - name.asked < LOST_SECONDS
        if age >= FRESH_SECONDS and not is_asked:
            self._ask(key, name)
            # It may have been answered at once.
            age = STALE_SECONDS if name.found is None else now - name.found
        if age < STALE_SECONDS or name.asked is None:
            _answer(resolutionReceiver, name.addresses)
        else:
            name.waiting[resolutionReceiver] = self._clock.callLater(
                LOOKUP_SECONDS, self._overdue, name, resolutionReceiver
            )
        return resolution

    def _ask(self, key: _Key, name: _Name) -> None:
        name.asked = self._clock.seconds()
        host, port, types, semantics = key
        receiver = _Receiver(self, key, name)
        try:
            self.inner.resolveHostName(receiver, host, port, types, semantics)
        except Exception as error:
            # It cannot be a name: one of its labels is too long, for example.
            self._bounded_log.warn(
                "cannot look up {host}: {why}", host=host, why=str(error)
            )
            self.answered(key, name, ())

    def answered(self, key: _Key, name: _Name, addresses: Sequence[IAddress]) -> None:
        """A look-up has ended; without addresses it failed."""
        name.asked = None
        now = self._clock.seconds()
        if addresses:
            name.addresses, name.found = addresses, now
        elif name.found is None or now - name.found >= STALE_SECONDS:
            # The next connection asks again.
            name.addresses, name.found = (), None
            if self._names.get(key) is name:
                del self._names[key]
        waiting, name.waiting = name.waiting, {}
        for receiver, alarm in waiting.items():
            alarm.cancel()
            _answer(receiver, name.addresses)
        while len(self._names) > _MOST:
            self._names.popitem(last=False)

    def _overdue(self, name: _Name, receiver: IResolutionReceiver) -> None:
        if name.waiting.pop(receiver, None) is not None:
            receiver.resolutionComplete()


@implementer(IResolutionReceiver)
class _Receiver:
    """Collects the addresses of one look-up."""

    def __init__(self, names: RememberedNames, key: _Key, name: _Name) -> None:
        self._names, self._key, self._name = names, key, name
        self._addresses: list[IAddress] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """The look-up began."""

    def addressResolved(self, address: IAddress) -> None:
        self._addresses.append(address)

    def resolutionComplete(self) -> None:
        self._names.answered(self._key, self._name, self._addresses)


def _answer(receiver: Any, addresses: Sequence[IAddress]) -> None:
    for address in addresses:
        receiver.addressResolved(address)
    receiver.resolutionComplete()
