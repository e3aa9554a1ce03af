"""What happens to DTLS associations, on either end."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from msgspec import Struct

#: Where the event happened: an `Association`, or the `DtlsClient`.
End = TypeVar("End")

#: Why an association is over. ``closed``: the peer closed it; ``idle``: nothing was
#: received; ``replaced``: the same address finished a newer handshake; ``failed``:
#: OpenSSL gave up; ``timeout``: the handshake took too long;
#: ``certificate``: it is not the server that was asked for.
Ending = Literal["closed", "idle", "replaced", "failed", "timeout", "certificate"]


# msgspec Structs, because one of these is made for every record: a frozen
# attrs class takes five times as long.
class Connected(Struct, Generic[End], frozen=True):
    """The handshake is finished; payloads may be sent."""

    association: End


class Received(Struct, Generic[End], frozen=True, gc=False):
    """One record's payload arrived: genuine, never twice, in any order."""

    association: End
    payload: bytes


class Unknown(Struct, Generic[End], frozen=True):
    """
    The server may not know the association, because its process was replaced.

    Anybody may have sent this: ask the server something before you believe it.
    """

    association: End


class Disconnected(Struct, Generic[End], frozen=True):
    """The association is over; no more payloads pass in either direction."""

    association: End
    reason: Ending
