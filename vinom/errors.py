"""
All errors that vinom raises on purpose, sorted by who must act.

Independent of protocols. `Code` is the closed list of reasons that players, tools and
logs ever see.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Code(StrEnum):
    """
    Why something was refused. Closed: clients may switch on it.

    The comment beside each member says what it means to the player.
    """

    BAD_MESSAGE = "bad_message"  #: not JSON, or not one of the messages
    BAD_FIELD = "bad_field"  #: a field is missing, of the wrong type or out of range
    TOO_LONG = "too_long"  #: a message above the size limit; the connection is closed
    UNKNOWN_TYPE = "unknown_type"  #: no message has this type
    PROTOCOL_UNSUPPORTED = "protocol_unsupported"  #: see details min and max
    PLAINTEXT_REFUSED = "plaintext_refused"  #: use TLS on this address
    HELLO_FIRST = "hello_first"  #: say hello before anything else
    HELLO_TWICE = "hello_twice"  #: this connection already said hello
    TIMEOUT = "timeout"  #: nothing arrived in time; the connection is closed
    NAME_REFUSED = "name_refused"  #: empty, too long, or not printable
    UNAUTHORIZED = "unauthorized"  #: credentials are wrong, expired or required
    UNKNOWN_PLAYER_KEY = "unknown_player_key"  #: say hello with a name instead
    RATE_LIMITED = "rate_limited"  #: too many messages; see details retry_after
    TOO_SLOW = "too_slow"  #: you read too slowly; the connection is closed
    ORIGIN_REFUSED = "origin_refused"  #: pages of this site may not use the server
    HOST_REFUSED = "host_refused"  #: this server does not answer to that host name
    TOO_MANY_CONNECTIONS = "too_many_connections"  #: from this address
    UNKNOWN_GAME = "unknown_game"  #: see details games
    UNKNOWN_QUEUE = "unknown_queue"  #: see details queues
    BAD_OPTIONS = "bad_options"  #: the game refuses these options
    BAD_LOADOUT = "bad_loadout"  #: the game refuses this loadout
    ALREADY_QUEUED = "already_queued"  #: cancel first
    NOT_QUEUED = "not_queued"  #: nothing to cancel
    ALREADY_IN_MATCH = "already_in_match"  #: one match at a time
    REPLACED = "replaced"  #: the same player said hello on a newer connection
    DRAINING = "draining"  #: this server takes no new matches
    BUSY = "busy"  #: the server is full or busy; see details retry_after
    UNAVAILABLE = "unavailable"  #: something that this needs does not answer; try again
    STORE_UNAVAILABLE = "store_unavailable"  #: storage; see details retry_after
    NO_SUCH_MATCH = "no_such_match"  #: it has ended, or never existed
    NO_SUCH_PLAYER = "no_such_player"  #: not in this match, queue or party
    # Answers about parties and prematches.
    NO_SUCH_PREMATCH = "no_such_prematch"  #: it is over, or somebody else's
    NO_SUCH_PARTY = "no_such_party"  #: it is gone, or your invitation is wrong
    NOT_IN_PARTY = "not_in_party"  #: create or join one first
    ALREADY_IN_PARTY = "already_in_party"  #: one party at a time
    PARTY_FULL = "party_full"  #: see details limit
    TOO_MANY_PARTIES = "too_many_parties"  #: see details limit
    # Answers of rooms.
    NO_SUCH_ROOM = "no_such_room"  #: it has closed, or never existed
    NOT_IN_ROOM = "not_in_room"  #: join it first
    WHICH_ROOM = "which_room"  #: you are in several: give room_id
    ALREADY_IN_ROOM = "already_in_room"  #: you are in it on this connection
    ROOM_FULL = "room_full"  #: every seat is taken; you can spectate
    ROOM_STARTED = "room_started"  #: play has begun, and nobody can join
    TOO_MANY_ROOMS = "too_many_rooms"  #: of yours, or of this server; see details limit
    NOT_HOST = "not_host"  #: only the host of the room or party can do this
    NOT_SEATED = "not_seated"  #: spectators can only watch
    NOT_NOW = "not_now"  #: see details: another state, or retry_after
    NO_BOT = "no_bot"  #: this game has no bot
    BAD_RESUME = "bad_resume"  #: wrong, used up or expired; join_room may help
    # Answers of game servers.
    BAD_PACKET = "bad_packet"  #: the packet does not have the documented layout
    BAD_TOKEN = "bad_token"  #: forged, malformed or for another realm
    TOKEN_EXPIRED = "token_expired"  #: ask the lobby for a new one
    TOKEN_USED = "token_used"  #: resume with the resume token, or ask the lobby
    WRONG_MATCH = "wrong_match"  #: this game server does not host that match
    WRONG_SEAT = "wrong_seat"  #: the ticket of this connection is for another seat
    SEAT_TAKEN = "seat_taken"  #: a newer connection holds this seat
    BAD_ACTION = "bad_action"  #: not an action of this game
    REJECTED = "rejected"  #: the rules forbid this action; see details reason
    # Why a match is over.
    FINISHED = "finished"  #: played to its end
    VOID = "void"  #: too few players came; those who did are queued again
    CRASHED = "crashed"  #: the game failed
    LOST = "lost"  #: its game server failed
    ABANDONED = "abandoned"  #: every player left, or was away for too long
    KICKED = "kicked"  #: an operator, the host or the game removed the player
    ENDED = "ended"  #: an operator ended the match
    TIME_LIMIT = "time_limit"  #: it ran beyond its game's limit
    SHUTDOWN = "shutdown"  #: the server stops
    INTERNAL = "internal"  #: our mistake; it is in our log


class VinomError(Exception):
    """Root of all errors that vinom raises on purpose."""


class PeerError(VinomError):
    """The peer broke the protocol: disconnect it, and keep serving others."""


class Refused(VinomError):
    """
    A player may not have what it asked for: answer so, and keep the connection.

    :ivar code: the reason, from the closed list.
    :ivar message: the reason, as a text.
    :ivar details: facts that a program can use (names and numbers, never secrets).
    """

    def __init__(
        self, code: Code, message: str, details: Mapping[str, Any] | None = None
    ) -> None:
        """
        Make a refusal.

        :param code: the reason, from the closed list.
        :param message: the reason, as a text.
        :param details: facts that a program can use.
        """
        super().__init__(message)
        self.code = code
        self.message = message
        self.details: Mapping[str, Any] = details or {}


class Rejected(VinomError):
    """
    The rules forbid an action; the state does not change.

    :ivar code: the game's own short reason, for example ``"wall"``.
    :ivar message: one sentence for people.
    """

    def __init__(self, code: str, message: str) -> None:
        """
        Make a rejection.

        :param code: the game's own short reason, for example ``"wall"``.
        :param message: the reason, as a text for players.
        """
        super().__init__(message)
        self.code = code
        self.message = message


class Unreadable(VinomError):
    """
    This version cannot read the format of a stored state or file.

    :ivar is_readable_elsewhere: is it of a newer version, or of a game that is not
        installed here?
    """

    def __init__(self, message: str, *, is_readable_elsewhere: bool = False) -> None:
        super().__init__(message)
        self.is_readable_elsewhere = is_readable_elsewhere


class Misconfigured(VinomError):
    """
    The operator or game author must change something.

    The message names the field and the fix in one sentence.
    """


class StoreUnavailable(VinomError):
    """
    Shared storage did not answer; whether the call took effect is unknown.

    A player is answered `refusal`.
    """

    def refusal(self) -> Refused:
        """Make the refusal of the request that needed the store."""
        return Refused(
            Code.STORE_UNAVAILABLE,
            "the server's storage does not answer; try again",
            {"retry_after": 1},
        )


class NothingStored(StoreUnavailable):
    """Shared storage was not asked, or in vain: the call had no effect, for certain."""


class LeaseLost(StoreUnavailable):
    """
    The lease of this node is over, and nothing was written.

    What the node owned may belong to another one; it needs a new lease.
    """


class NoCapacity(VinomError):
    """No game server is free; wait for one, or try again later."""


#: msgspec writes "`key` in" when a key of the map at this path is wrong.
_FIELD_AT = re.compile(r"at (?:`key` in )?`\$\.?([^`]*)`$")
_FIELD_NAMED = re.compile(r"(?:required|unknown) field `([^`]*)`")


def field_of(problem: str) -> str | None:
    """
    Find the field that a msgspec validation message is about.

    :returns: a dotted path from the root, or ``None`` if the root is at fault.
    """
    at = _FIELD_AT.search(problem)
    named = _FIELD_NAMED.search(problem)
    path = [found.group(1) for found in (at, named) if found and found.group(1)]
    return ".".join(path) or None
