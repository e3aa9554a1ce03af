"""The settings of WebSockets and of the rooms that a node hosts itself."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal

import attrs

from vinom.rules.origins import OriginRule
from vinom.tap.setting_rows import option
from vinom.tap.values import Bounded, Choice, Network, OriginHost, PathName, Switch


@attrs.frozen(kw_only=True)
class RoomSettings:
    """
    Part of the table of settings: see `vinom.tap.settings`.
    """

    # What browsers may do.
    http_tls: bool = option(
        "websocket",
        Switch(),
        "speak TLS where http is, with the lobby's certificate",
        False,
    )
    origin: tuple[OriginRule, ...] = option(
        "websocket",
        OriginHost(),
        "a host whose web pages may connect beside those of the node's own address: "
        "example.com, *.example.com (hosts below it) or localhost:5173; may be "
        "repeated",
        many=True,
    )
    browsers_only: bool = option(
        "websocket",
        Switch(),
        "refuse WebSockets of programs, which send no Origin as browsers do",
        False,
    )
    any_origin: bool = option(
        "websocket",
        Switch(),
        "for development only: the web pages of every site may connect",
        False,
    )
    proxy: tuple[IPv4Network | IPv6Network, ...] = option(
        "websocket",
        Network(),
        "an address, or a network such as 10.0.0.0/8, of proxies before http: each of "
        "their connections begins with a header of the PROXY protocol; may be "
        "repeated",
        many=True,
    )
    ping_seconds: float = option(
        "websocket",
        Bounded(float, 1, 3600),
        "between two pings of a WebSocket; who answers none of them until the next "
        "is lost",
        20.0,
    )
    deflate: bool = option(
        "websocket",
        Switch(),
        "compress messages of WebSockets whose clients can; costs more time than "
        "small messages save",
        False,
    )
    dev_notes: Path | None = option(
        "websocket",
        PathName(),
        "a JSON file that the page is shown again and again: see vinom dev",
    )
    # Rooms that the node hosts itself.
    max_rooms: int = option(
        "rooms", Bounded(int, 1, 10**6), "most rooms of this node at once", 10_000
    )
    rooms_per_client: int = option(
        "rooms", Bounded(int, 1, 1000), "rooms that one player may be in", 8
    )
    spectators_per_room: int = option(
        "rooms", Bounded(int, 0, 10**6), "most who may watch one room", 256
    )
    room_close_seconds: float = option(
        "rooms",
        Bounded(float, 0, 10**6),
        "how long a room stays after the last person left",
        30.0,
    )
    grace_seconds: float = option(
        "rooms",
        Bounded(float, 0, 10**6),
        "how long a seat is kept for a player whose connection was lost, unless its "
        "game says otherwise",
        900.0,
    )
    watch_matches: Literal["none", "by_id", "listed"] = option(
        "rooms",
        Choice(("none", "by_id", "listed")),
        "who may watch matches of others from the node: none; by_id: who knows the "
        "match's id; listed: anybody, for list_rooms tells of them",
        "listed",
    )
