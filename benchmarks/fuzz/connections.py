"""
Fuzz targets of WebSockets, and of the rooms behind them.

As in `benchmarks.fuzz.targets`, each assertion is a promise of the code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
from twisted.logger import globalLogPublisher
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.streams import StreamReader

from tests.support.lobbies import LobbyWorld, MemoryLine
from tests.support.websocket_lines import hear_by_line
from tests.support.websocket_net import handshake
from tests.support.websockets import frame, read_frames
from vinom.base.messages.catalogue import decode_answer
from vinom.base.messages.envelope import Told
from vinom.game import Game
from vinom.games.arena import Arena
from vinom.games.dice import Dice
from vinom.games.oldmaid import OldMaid
from vinom.games.owedrahn import OweDrahn
from vinom.games.tictactoe import TicTacToe
from vinom.lobby.conversation.conversation import Bounds
from vinom.net.lines.ws_stream import accept_handshake, read_plain_handshake

#: Longest message of a client here, bytes: short, so that many are too long.
_LIMIT = 300
_PATH = b"/ws"


@attrs.frozen
class _Heard:
    """The results of a client's bytes."""

    messages: list[bytes]
    said: list[tuple[int, bytes]]
    is_over: bool


def _listen(
    parts: list[bytes], is_short_cut: bool, extensions: tuple[Extension, ...]
) -> _Heard:
    messages, sent, is_over = hear_by_line(parts, _LIMIT, is_short_cut, extensions)
    assert all(len(message) <= _LIMIT for message in messages)
    for message in messages:
        message.decode()
    said = [(int(one.opcode), bytes(one.data)) for one in read_frames(sent)]
    farewells = [number for number, (code, _) in enumerate(said) if code == 8]
    assert farewells in ([], [len(said) - 1]), "a message after the close frame"
    if farewells:
        # Its text may depend on how much had arrived; its code may not.
        said[-1] = 8, said[-1][1][:2]
    return _Heard(messages, said, is_over)


def websocket(data: bytes) -> None:
    """
    Frames: whole, in pieces, and without the short cut.

    The first byte is the size of the pieces, and whether compression was negotiated.
    """
    first, data = data[0] if data else 0, data[1:]
    size = (first & 0x7F) + 1
    extensions = (_deflate(),) if first & 0x80 else ()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    whole = _listen([data], True, extensions)
    assert _listen(pieces, True, extensions) == whole, "pieces are read otherwise"
    assert _listen(pieces, False, extensions) == whole, "the short cut reads otherwise"


def _deflate() -> PerMessageDeflate:
    """Make what handshakes negotiate; both ends are alike."""
    return PerMessageDeflate(True, True, 12, 12)


def plain_handshake(data: bytes) -> None:
    """The short way in admits nobody whom the long one would refuse."""
    found = read_plain_handshake(_PATH, data)
    if found is None:
        return
    assert data.endswith(found.rest)
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    request: Request = _result(Request.parse(reader.read_line))
    headers = request.headers
    assert request.path == _PATH.decode()
    assert (headers.get("Host"), headers.get("Origin")) == (found.host, found.origin)
    assert accept_handshake("/ws", headers.raw_items()).answer == found.answer
    assert bytes(reader.buffer) == found.rest


def _result(parsing: Generator[None, None, Any]) -> Any:
    """Return what a parser of ``websockets`` makes of complete data."""
    try:
        next(parsing)
    except StopIteration as done:
        return done.value
    raise AssertionError("the data is incomplete")


#: A line of a talk begins with this if Bob sends it: JSON allows it.
_BOB = b"\t"
#: Stand in a talk for the secret of the sender's own last place, and of the other's.
_OWN, _OTHERS = b"RESUME", b"STOLEN"
_GAMES: dict[str, Game[Any, Any]] = {
    "arena": Arena(),
    "dice": Dice(),
    "oldmaid": OldMaid(),
    "owedrahn": OweDrahn(),
    "tictactoe": TicTacToe(),
}
#: No limit on messages per second: that is tested elsewhere.
_PATIENT = Bounds(rate=1e6, burst=1e6, actions=1e6)


class _Player:
    """
    A player who reads every message.

    :ivar resume: the resume secret of its last seat.
    """

    def __init__(self, world: LobbyWorld, name: str) -> None:
        self._world, self._name = world, name
        self.resume = ""
        self._versions: dict[str, int] = {}
        self.begin()

    def begin(self) -> None:
        """Connect, on a new line."""
        self.line: MemoryLine = self._world.hello(self._name)[0]
        self._versions.clear()

    def listen(self) -> None:
        """Check the messages that came."""
        for said in self.line.heard():
            kind, data = said["type"], said.get("data", {})
            answer = decode_answer(json.dumps(said).encode())
            assert answer is not None, f"no client knows {kind}"
            if not isinstance(answer, Told):
                assert answer.code != "internal", answer
                continue
            if kind in ("join_room_result", "reconnect_result"):
                self.resume = data["resume"]
                self._versions[data["room_id"]] = 0
            elif kind == "game_state":
                before = self._versions[data["room_id"]]
                assert data["version"] >= before, "a state goes back"
                self._versions[data["room_id"]] = data["version"]


@contextmanager
def _nothing_logged() -> Iterator[None]:
    """Fail if anything of ours is logged as a failure."""
    failures = []

    def observe(event: Any) -> None:
        if "log_failure" in event:
            failures.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)
    assert not failures, failures[0].getTraceback()


def room_messages(data: bytes) -> None:
    """
    Messages of two players to a node and its rooms, one per line; an empty line means a
    second passes.

    At the end both leave, and nothing must be left.
    """
    with _nothing_logged():
        world = LobbyWorld(games=_GAMES, bounds=_PATIENT)
        players = [_Player(world, name) for name in ("ann", "bob")]
        for line in data.split(b"\n"):
            if not line:
                world.clock.advance(1.0)
            _say(players, line)
            world.clock.advance(0)
            for player in players:
                player.listen()
        for player in players:
            if not player.line.is_closed:
                player.line.hang_up()
        world.clock.advance(1000.0)
        world.clock.advance(4000.0)
        world.clock.advance(100.0)
    left = world.rooms.directory.status()
    assert not any(left.values()), left


def _say(players: list[_Player], line: bytes) -> None:
    is_bob = line.startswith(_BOB)
    player, other = players[is_bob], players[not is_bob]
    if line.strip() == b"BYE":
        if not player.line.is_closed:
            player.line.hang_up()
        player.begin()
    elif line and not player.line.is_closed:
        line = line.replace(_OWN, player.resume.encode())
        line = line.replace(_OTHERS, other.resume.encode())
        player.line.conversation.received(line)


def _compressed(message: bytes) -> bytes:
    data = _deflate().encode(Frame(Opcode.TEXT, message)).data
    return frame(Opcode.TEXT, bytes(data), reserved=4)


_TALK = (
    b'{"type":"join_room","id":1,"data":{"game":"tictactoe","room_id":"r"}}\n'
    b'\t{"type":"join_room","data":{"game":"tictactoe","room_id":"r"}}\n'
    b'{"type":"action","id":1,"seen":1,"data":{"type":"place","row":0,"col":0}}\n'
    b'\t{"type":"action","id":1,"room_id":"r","data":{"type":"place","row":1,"col":1}}\n'
)
#: Each target, with its first inputs.
CONNECTION_TARGETS: dict[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]] = {
    "websocket": (
        websocket,
        (
            b"\x7f" + frame(1, b'{"type":"ping"}') + frame(9, b"?"),
            b"\x04" + frame(1, b"a\xc3", is_final=False) + frame(0, b"\xbc"),
            b"\x9f" + _compressed(b'{"type":"ping"}') + frame(10, b""),
            b"\x00" + frame(1, b"x" * 130) + frame(8, b"\x03\xe8bye"),
        ),
    ),
    "plain_handshake": (
        plain_handshake,
        (
            handshake(80),
            handshake(80, Origin="http://here", Connection="keep-alive, Upgrade")
            + frame(1, b"{}"),
        ),
    ),
    "room_messages": (
        room_messages,
        (
            _TALK,
            _TALK + b"\tBYE\n\n" + b'\t{"type":"reconnect","data":{"resume":"RESUME"}}',
            _TALK + b'{"type":"reconnect","data":{"resume":"STOLEN"}}\n\tBYE\n',
            b'{"type":"join_room","data":{"game":"arena"}}\n\n{"type":"start_room"}\n'
            b'{"type":"list_rooms","data":{"watch":true}}\n{"type":"leave_room"}',
            b'{"type":"join_room","data":{"game":"dice","room_id":"d"}}\n'
            b'{"type":"add_bot"}\n{"type":"start_room"}\n\n'
            b'\t{"type":"join_room","data":{"game":"dice","room_id":"d",'
            b'"spectate":true}}\n{"type":"ack","data":{"seen":1}}\n'
            b'{"type":"kick","data":{"seat":1}}\n{"type":"rematch"}',
        ),
    ),
}
