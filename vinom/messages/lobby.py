"""The lobby's messages: who you are, the queue, and your match."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct

from vinom.messages.envelope import Push, Request, SecretText, ShortText


class Hello(Request, frozen=True, tag="hello", tag_field="type"):
    """
    Say who you are; the first message of every connection.

    Exactly one of `name` (a guest), `credentials` and `player_key` (the secret
    of an earlier `Welcome`) is given; a name may come with credentials.

    :ivar stay: do not close this line when a match is found: it may be played on it,
        see `JoinRoom`. A WebSocket stays open anyway.
    """

    protocol: int
    name: str | None = None
    credentials: dict[str, str] | None = None
    player_key: SecretText | None = None
    stay: bool = False


class Queue(Request, frozen=True, tag="queue", tag_field="type"):
    """Ask for a match; system 001's "ready"."""

    game: ShortText
    options: Raw = Raw(b"{}")
    loadout: Raw = Raw(b"{}")


class Cancel(Request, frozen=True, tag="cancel", tag_field="type"):
    """Leave the queue."""


class Ping(Request, frozen=True, tag="ping", tag_field="type"):
    """Ask for a `Pong`."""


class Welcome(Push, frozen=True, tag="welcome", tag_field="type"):
    """
    You are known; answers `Hello`.

    :ivar player_key: secret: whoever has it is this player.
    """

    player_id: str
    player_key: str
    name: str
    protocol: int
    server: str
    games: tuple[str, ...]


class QueueStatus(Push, frozen=True, tag="queue_status", tag_field="type"):
    """
    You wait; answers `Queue`, and comes again when something changes.

    :ivar state: "waiting", "matched" (a game server is being made ready),
        or "idle" (answers `Cancel`).
    :ivar position: 1 is the front.
    :ivar waited: seconds.
    """

    state: str
    game: str | None = None
    position: int | None = None
    waited: float = 0.0


class Pong(Push, frozen=True, tag="pong", tag_field="type"):
    """Answers `Ping`."""


class SeatName(Struct, frozen=True):
    """Who sits where."""

    seat: int
    name: str
    player_id: str


class MatchFound(Push, frozen=True, tag="match_found", tag_field="type"):
    """
    Go and play: the game server listens already.

    :ivar host: address or name to send UDP to.
    :ivar server_name: for the ClientHello; its first label is your ticket.
    :ivar certificate: the authority to verify the server with, PEM.
    :ivar token: proof of your seat; secret.
    :ivar seat: your place in `players`.
    :ivar expires_at: of the token, seconds since the Unix epoch.
    """

    match_id: str
    game: str
    host: str
    port: int
    server_name: str
    certificate: str
    token: str
    seat: int
    players: tuple[SeatName, ...]
    expires_at: float


class MatchEnded(Push, frozen=True, tag="match_ended", tag_field="type"):
    """
    Your match is over.

    :ivar reason: finished, void, crashed, lost, ended, kicked, time_limit or shutdown.
    """

    match_id: str
    reason: str
    outcome: dict[str, Any] | None = None
