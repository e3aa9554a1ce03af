"""A control link in memory: messages as they arrive, and whom a node passes them to."""

from __future__ import annotations

from typing import Any

from vinom.fleet.control.messages import (
    MatchStarted,
    RoundEnded,
    SeatChanged,
    ToNode,
    ToServer,
    decode_to_node,
    decode_to_server,
    encode,
)


def at_node(message: ToNode | ToServer) -> Any:
    """Read a message as a node does, from its bytes."""
    return decode_to_node(encode(message)[4:])


def at_server(message: ToServer) -> Any:
    """Read a message as a game server does, from its bytes."""
    return decode_to_server(encode(message)[4:])


def tell(message: Any, watch: Any, relay: Any) -> None:
    """
    Pass on what a match's game server sent, except its end.

    :param watch: receives reports about the match.
    :param relay: receives what players of the node are shown, or ``None``.
    """
    match message:
        case SeatChanged(match_id, seat, state):
            watch.seat_changed(match_id, seat, state)
        case MatchStarted(match_id):
            watch.started(match_id)
        case RoundEnded(match_id, outcome):
            watch.round_ended(match_id, outcome)
        case _:
            if relay is not None:
                relay(message)
