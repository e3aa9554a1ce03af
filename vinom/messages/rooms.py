"""
The messages of rooms that a node hosts itself: see docs/protocol/rooms.rst.

``room_id`` may be left out while a client is in exactly one room.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from vinom.messages.envelope import Push, Request, SecretText, ShortText

#: Room ids travel in URLs, logs and file names.
RoomId = Annotated[
    str, Meta(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9._-]+\Z")
]
SeatNumber = Annotated[int, Meta(ge=0, le=65535)]
#: Versions and numbers are counted from 1; 0 is "none yet".
Count = Annotated[int, Meta(ge=0, le=(1 << 53) - 1)]
#: Play has not begun, runs, or a round is over.
RoomState = Literal["gathering", "playing", "over"]


# What players ask.


class JoinRoom(Request, frozen=True, tag="join_room", tag_field="type"):
    """
    Take a seat in a room, or come back to yours; makes the room if need be.

    :ivar room_id: which one; without it any open room with these options, in which
        you are not and from which you were not removed, or a new one. One that was
        made by its id is found by its id only. The ``match_id`` of a match takes your
        seat in that match, or lets you watch it.
    :ivar options: the game's; of the room's maker. Others may leave them out.
    :ivar loadout: what you bring, if the game takes anything.
    :ivar spectate: watch only; the room must be there.
    """

    game: ShortText
    room_id: RoomId | None = None
    options: Raw = Raw(b"{}")
    loadout: Raw = Raw(b"{}")
    spectate: bool = False


class LeaveRoom(Request, frozen=True, tag="leave_room", tag_field="type"):
    """Give your seat up for good."""

    room_id: RoomId | None = None


class ListRooms(Request, frozen=True, tag="list_rooms", tag_field="type"):
    """
    Ask which rooms there are.

    :ivar watch: true: be told of changes too, by `RoomListUpdate`; false: no more.
        Without it that stays as it is.
    :ivar limit: most rooms in the answer.
    :ivar matches: list matches that may be watched, and no rooms; of their changes
        tells `MatchListUpdate`.
    """

    game: ShortText | None = None
    state: RoomState | None = None
    watch: bool | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 50
    matches: bool = False


class Action(Request, frozen=True, tag="action", tag_field="type"):
    """
    Play. ``data`` is the game's own action.

    ``room_id`` stands on the envelope here, beside ``id`` and ``seen``: the version of
    the latest state that you have, from which on patches are made. An ``id`` must be a
    whole number that rises with each action; one that is not above the last applied is
    acknowledged again and never applied again.
    """


class Ack(Request, frozen=True, tag="ack", tag_field="type"):
    """
    Say which state you have, without playing; nothing answers.

    :ivar seen: its version.
    """

    seen: Count
    room_id: RoomId | None = None


class StartRoom(Request, frozen=True, tag="start_room", tag_field="type"):
    """Begin with those who are there. Host only."""

    room_id: RoomId | None = None


class AddBot(Request, frozen=True, tag="add_bot", tag_field="type"):
    """Let the game's bot take a free seat. Host only."""

    room_id: RoomId | None = None


class KickSeat(Request, frozen=True, tag="kick", tag_field="type"):
    """Remove whoever has a seat; it can't come back to this room. Host only."""

    seat: SeatNumber
    room_id: RoomId | None = None


class Rematch(Request, frozen=True, tag="rematch", tag_field="type"):
    """When a round is over, play anew with the same seats. Host only."""

    room_id: RoomId | None = None


class Reconnect(Request, frozen=True, tag="reconnect", tag_field="type"):
    """
    Take your seat again after your connection was lost.

    :ivar resume: the secret of the latest `JoinRoomResult` or `ReconnectResult`; it is
        used up, whoever uses it.
    :ivar heard: the highest ``number`` you knew when the latest state came, with those
        of that state; not what came after it, for announcements overtake events that
        wait for their state. Without it, what left the node before the loss was
        noticed counts as heard.
    """

    resume: SecretText
    heard: Count | None = None


#: All of these but `Action`, which takes a way of its own.
ROOM_REQUESTS: frozenset[type[Request]] = frozenset(
    (
        *(JoinRoom, LeaveRoom, ListRooms, Ack, Reconnect),
        *(StartRoom, AddBot, KickSeat, Rematch),
    )
)


# What they are told.


class RoomSeat(Struct, frozen=True):
    """
    Who has a seat.

    :ivar state: "here", "away" (its connection was lost, its seat is kept), or "bot".
    """

    seat: int
    name: str
    player_id: str
    state: str


class _Place(Push, frozen=True):
    """What is told of a place in a room: see `JoinRoomResult`."""

    room_id: str
    game: str
    seat: int | None
    resume: str
    state: str
    host: int | None
    players: tuple[RoomSeat, ...]
    options: Raw
    setup: Raw
    version: int
    acted: int
    number: int


class JoinRoomResult(_Place, frozen=True, tag="join_room_result", tag_field="type"):
    """
    You are in; answers `JoinRoom`. The state follows, if play has begun.

    :ivar seat: yours; null: you watch. Before the start it may still move: see
        `RoomStarted`.
    :ivar resume: secret: whoever has it can take your place here with `Reconnect`.
    :ivar state: "gathering", "playing" or "over".
    :ivar host: the seat that may kick, start and so on, of those who sit here and are
        connected the one who does so longest; null while nobody sits.
    :ivar setup: the part of the game's view that never changes, if it has one.
    :ivar version: of the state; 0 before play begins.
    :ivar acted: id of your last action that was applied; 0 is none.
    :ivar number: of the latest thing that carries a number.
    """


class ReconnectResult(_Place, frozen=True, tag="reconnect_result", tag_field="type"):
    """
    You have your place again; answers `Reconnect`.

    What you missed follows, then the state. Fields as in `JoinRoomResult`.

    :ivar lost: how much of what you missed is no longer kept.
    """

    lost: int


class RoomDone(Push, frozen=True, tag="room_done", tag_field="type"):
    """
    It is done; answers `LeaveRoom`, `StartRoom`, `AddBot`, `KickSeat` and `Rematch`.

    :ivar seat: which one it was about, if about one.
    """

    room_id: str
    seat: int | None = None


class RoomFacts(Struct, frozen=True):
    """
    One room of a list.

    :ivar seats: most who can sit.
    :ivar taken: how many do, bots among them.
    :ivar open: can a newcomer take a seat now?
    """

    room_id: str
    game: str
    state: str
    host: str
    seats: int
    taken: int
    spectators: int
    open: bool


class RoomList(Push, frozen=True, tag="rooms", tag_field="type"):
    """
    Which rooms there are; answers `ListRooms`.

    :ivar total: how many fit the question, listed or not.
    """

    rooms: tuple[RoomFacts, ...]
    total: int


class RoomListUpdate(Push, frozen=True, tag="room_list_update", tag_field="type"):
    """
    What changed since, for one who watches; twice a second at most.

    :ivar changed: rooms as they are now.
    :ivar gone: ids of rooms that closed, or no longer fit what was asked.
    """

    changed: tuple[RoomFacts, ...]
    gone: tuple[str, ...]


class MatchListUpdate(Push, frozen=True, tag="match_list_update", tag_field="type"):
    """
    What changed since in the list of matches, for one who watches it; once a second
    at most. Of no more matches than the `limit` that was asked for, the oldest.

    :ivar changed: matches as they are now.
    :ivar gone: ids of matches that are over, or no longer fit what was asked.
    """

    changed: tuple[RoomFacts, ...]
    gone: tuple[str, ...]


class ClientJoined(Push, frozen=True, tag="client_joined", tag_field="type"):
    """
    Somebody came.

    :ivar seat: null for a spectator.
    :ivar how: "joined", "returned" (after a loss) or "bot".
    :ivar host: who is host now.
    """

    room_id: str
    number: int
    seat: int | None
    name: str
    player_id: str
    how: str
    host: int | None


class ClientLeft(Push, frozen=True, tag="client_left", tag_field="type"):
    """
    Somebody went.

    :ivar reason: "left", "kicked", "expired" (did not come back in time), "forfeited"
        (by the game's own rule), or "lost": its connection is, its seat is kept.
    :ivar host: who is host now.
    """

    room_id: str
    number: int
    seat: int | None
    name: str
    player_id: str
    reason: str
    host: int | None


class RoomStarted(Push, frozen=True, tag="room_started", tag_field="type"):
    """
    Play begins, for the first time or again. The state follows.

    :ivar seat: yours, from now on; null: you watch.
    """

    room_id: str
    number: int
    seat: int | None
    host: int | None
    players: tuple[RoomSeat, ...]
    setup: Raw


class RoundOver(Push, frozen=True, tag="round_over", tag_field="type"):
    """
    A round has ended.

    :ivar outcome: ``{round, places, scores}``.
    :ivar version: of the state that shows it.
    """

    room_id: str
    number: int
    version: int
    outcome: dict[str, Any]


class Kicked(Push, frozen=True, tag="kicked", tag_field="type"):
    """You are out of a room: its host or an operator removed you, or the game did."""

    room_id: str


class RoomClosed(Push, frozen=True, tag="room_closed", tag_field="type"):
    """
    A room is no more.

    :ivar reason: finished, abandoned, crashed, time_limit, ended, shutdown, or lost:
        its game process died.
    :ivar version: of the last state of what was played.
    :ivar view_hash: of the last public view: the first 16 hexadecimal digits of the
        SHA-256 of its MessagePack; empty if that is not known.
    """

    room_id: str
    reason: str
    outcome: dict[str, Any] | None = None
    version: int = 0
    view_hash: str = ""


class EventTold(Struct, frozen=True):
    """
    Something that happened once in a game.

    :ivar number: rises, with gaps: others may be told what you are not.
    :ivar version: of the state that it belongs to.
    """

    number: int
    version: int
    kind: str
    data: Any = None


class GameState(Push, frozen=True, tag="game_state", tag_field="type"):
    """
    The state, as you may see it.

    One of `view` and `patch` is there. Who reads slowly gets fewer, newer states.

    :ivar version: rises with each change; never goes back in one room.
    :ivar time: match time, seconds.
    :ivar ack: seat to ``id`` of its last applied action, for seats that give ids.
    :ivar view: what the game shows you.
    :ivar patch: a JSON merge patch (RFC 7396) to the view of version `base`.
    :ivar events: what happened since the state before, oldest first.
    :ivar skipped: how many states you were not sent because you read slowly.
    """

    room_id: str
    version: int
    time: float
    ack: dict[str, int]
    events: tuple[EventTold, ...] = ()
    view: Raw | UnsetType = UNSET
    patch: Raw | UnsetType = UNSET
    base: int | UnsetType = UNSET
    skipped: int = 0
