"""
h11's parser of answers, without what it does for programs that send the requests.

Pure. For each answer a proxy has to make a connection of h11, and to show it a request
as if it had sent it. That costs more than the parsing. Here an answer that begins a
WebSocket is read by h11's own function for heads, and the connection that reads another
answer is a copy of one that was shown the request before.

All that this uses of h11's private parts is here. If a version of h11 is not made as
expected (`IS_KNOWN`), its public ways do the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import h11
from h11 import _readers, _receivebuffer, _state

#: Longest head of an answer, bytes.
ANSWER_LIMIT = 64 * 1024
UPGRADE = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
_END = h11.EndOfMessage()
#: What a connection of h11 consists of, and its state; of these some change.
_CONNECTION = {
    "_max_incomplete_event_size",
    "our_role",
    "their_role",
    "_cstate",
    "_writer",
    "_reader",
    "_receive_buffer",
    "_receive_buffer_closed",
    "their_http_version",
    "_request_method",
    "client_is_waiting_for_100_continue",
}
_STATE = {"keep_alive", "pending_switch_proposals", "states"}


def answer_reader(method: bytes, is_upgrade: bool) -> h11.Connection:
    """
    Make what reads the answer to a request.

    :param method: of the request.
    :param is_upgrade: whether it asks for a WebSocket.
    """
    return (
        _copied(_asked(method, is_upgrade)) if IS_KNOWN else _asks(method, is_upgrade)
    )


def read_upgrade(data: bytes) -> tuple[h11.InformationalResponse, bytes] | None:
    """
    Read an answer by which a connection becomes a WebSocket.

    :param data: what a back end sent first.
    :returns: the answer, and what came behind it; ``None`` if it takes an
        `answer_reader` to know what it is.
    """
    if not IS_KNOWN:
        return None
    buffer = _receivebuffer.ReceiveBuffer()
    buffer += data
    try:
        answer = _readers.maybe_read_from_SEND_RESPONSE_server(buffer)
    except h11.LocalProtocolError:
        return None
    if isinstance(answer, h11.InformationalResponse) and answer.status_code == 101:
        return answer, bytes(buffer)
    return None


def _asks(method: bytes, is_upgrade: bool) -> h11.Connection:
    """Make a connection that has sent a request: no body, no path, for none matters."""
    made = h11.Connection(h11.CLIENT, max_incomplete_event_size=ANSWER_LIMIT)
    fields = [(b"Host", b"h"), *(UPGRADE if is_upgrade else ())]
    made.send(h11.Request(method=method, target=b"/", headers=fields))
    made.send(_END)
    return made


_asked = lru_cache(64)(_asks)


def _copied(one: h11.Connection) -> h11.Connection:
    """Copy a connection that has received nothing yet."""
    made: Any = object.__new__(h11.Connection)
    made.__dict__.update(one.__dict__)
    made._receive_buffer = _receivebuffer.ReceiveBuffer()
    before: Any = one._cstate
    made._cstate = state = object.__new__(_state.ConnectionState)
    state.keep_alive = before.keep_alive
    state.pending_switch_proposals = set(before.pending_switch_proposals)
    state.states = dict(before.states)
    copied: h11.Connection = made
    return copied


def _is_as_expected() -> bool:
    """Has h11 the parts that are used here, and no others?"""
    try:
        answers: Callable[..., Any] = _readers.maybe_read_from_SEND_RESPONSE_server
        one = _asks(b"GET", True)
        is_same = (
            vars(one).keys() == _CONNECTION
            and vars(one._cstate).keys() == _STATE
            and type(one._receive_buffer) is _receivebuffer.ReceiveBuffer
            and type(one._cstate) is _state.ConnectionState
            and one._reader is answers
        )
    except (AttributeError, KeyError, TypeError):
        return False
    return is_same


#: Is h11 made as it is expected here?
IS_KNOWN = _is_as_expected()
