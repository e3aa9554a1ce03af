"""
DTLS 1.2 without sockets: datagrams and time in, datagrams and events out.

The parts: `vinom.wire.dtls_server` and `vinom.wire.dtls_client` are the two ends,
`vinom.wire.dtls_channel` is OpenSSL behind datagram borders.
"""

from vinom.wire.dtls_association import Association
from vinom.wire.dtls_client import ClientEvent, DtlsClient
from vinom.wire.dtls_events import Connected, Disconnected, Ending, Received
from vinom.wire.dtls_server import DtlsServer
from vinom.wire.dtls_server_out import ServerEvent

__all__ = [
    "Association",
    "ClientEvent",
    "Connected",
    "Disconnected",
    "DtlsClient",
    "DtlsServer",
    "Ending",
    "Received",
    "ServerEvent",
]
