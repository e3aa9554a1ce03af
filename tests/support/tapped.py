"""A network that knows what is in its datagrams, and loses one of them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from tests.support.played import HOST, MemoryReactor
from vinom.net.dtls.records import ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC
from vinom.net.packets.codec import read_player, read_server

#: Where a handshake message's type is, in the first record of a datagram.
_MESSAGE_TYPE = 13
#: Where the length of a ClientHello's session id is; the cookie's follows it.
_SESSION_ID = 13 + 12 + 2 + 32
_HEADER = 13
#: First message of a flight to its name.
_FLIGHTS = {
    2: "server hello",
    3: "hello verify request",
    4: "server finished",
    11: "server hello",
    12: "server hello",
    14: "server hello",
    16: "client finished",
}
_PACKETS = {
    "Join": "join",
    "Input": "input",
    "Probe": "ping",
    "Bye": "bye",
    "WelcomePiece": "welcome",
    "StatePiece": "state",
    "Messages": "messages",
    "ServerProbe": "ping",
}


class TappedReactor(MemoryReactor):
    """
    Names the datagrams between the first player and its game server.

    The plaintext is recorded by `note_player` and `note_server`, in the order in
    which it is sealed.

    :param losing: which of them is lost: who sent it ("player" or "server"), and
        how many that one sent before.
    :ivar seen: all that this player sent and was sent: (who, name).
    """

    def __init__(self, clock: Any, losing: tuple[str, int] | None = None) -> None:
        super().__init__(clock)
        self.losing = losing
        self.delay = 0.02
        self.seen: list[tuple[str, str]] = []
        self._counts = {"player": 0, "server": 0}
        self._player: list[bytes] = []
        self._server: dict[Any, list[bytes]] = defaultdict(list)
        self._first: Any = None

    def note_player(self, payload: bytes) -> None:
        """Some player seals this, and sends it before any other does."""
        self._player.append(payload)

    def note_server(self, address: Any, payload: bytes) -> None:
        """A game server seals this for a player."""
        self._server[address].append(payload)

    def listenUDP(self, port: int, protocol: Any, **more: Any) -> Any:
        if not port and self._first is None:
            # Its hello comes before we have its address otherwise.
            self._first = (HOST, self._next + 1)
        return super().listenUDP(port, protocol, **more)

    def carry(self, sender: Any, datagram: bytes, address: Any) -> None:
        is_player = sender.peer is not None
        payloads = self._player if is_player else self._server[address]
        name = name_of(datagram, payloads, is_player)
        if self._first in (sender.address, address):
            who = "player" if is_player else "server"
            number = self._counts[who]
            self._counts[who] += 1
            self.seen.append((who, name))
            if self.losing == (who, number):
                return
        super().carry(sender, datagram, address)


def name_of(datagram: bytes, payloads: list[bytes], is_player: bool) -> str:
    """Say what is in a datagram; takes its payloads from the list."""
    kind = datagram[0]
    if kind == CHANGE_CIPHER_SPEC:
        return "server finished"
    if kind not in (ALERT, APPLICATION_DATA):
        message = datagram[_MESSAGE_TYPE]
        if message != 1:
            return _FLIGHTS[message]
        cookie = _SESSION_ID + 1 + datagram[_SESSION_ID]
        return "client hello with cookie" if datagram[cookie] else "client hello"
    names = []
    while datagram:
        if datagram[0] == ALERT:
            names.append("close_notify")
        else:
            payload = payloads.pop(0)
            read = read_player if is_player else read_server
            names.append(_describe(read(payload)))
        datagram = datagram[_HEADER + int.from_bytes(datagram[11:13], "big") :]
    return ", ".join(names)


def _describe(packet: Any) -> str:
    name = _PACKETS[type(packet).__name__]
    return f"{name} {packet.version}" if name == "state" else name
