"""
The messages of rooms, and of matches played over WebSocket: docs/protocol/rooms.rst.

``room_id`` may be left out while a client is in exactly one room.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, ValidationError, convert

from vinom.base.messages.envelope import Push, Request, SecretText, ShortText


class NoPatch(ValueError):
    """No merge patch turns the one value into the other."""


def merge_diff(base: Any, target: Any) -> dict[str, Any]:
    """
    Find the patch that turns *base* into *target*; both are decoded JSON.

    :raises NoPatch: one of them isn't an object, or *target* has a new null, which
        means "remove" in a patch.
    """
    if not isinstance(base, dict) or not isinstance(target, dict):
        raise NoPatch("only objects can be patched")
    patch: dict[str, Any] = {name: None for name in base if name not in target}
    for name, value in target.items():
        before = base.get(name, _NOTHING)
        if _is_same(before, value):
            continue
        if isinstance(before, dict) and isinstance(value, dict):
            patch[name] = merge_diff(before, value)
        else:
            patch[name] = _whole(value)
    return patch


def merge(base: Any, patch: Any) -> Any:
    """Apply a patch; *base* is not changed."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(base) if isinstance(base, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


_NOTHING = object()


def _is_same(one: Any, other: Any) -> bool:
    """Are they the same JSON? In Python ``True``, 1 and 1.0 are equal."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            _is_same(value, other[name]) for name, value in one.items()
        )
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return bool(one == other)


def _whole(value: Any) -> Any:
    """Return *value* if a patch can set it as a whole."""
    if value is None:
        raise NoPatch("a patch cannot set a null")
    if isinstance(value, dict):
        # Nulls inside of objects would vanish when the patch is applied; those
        # inside of arrays are kept as they are.
        for inner in value.values():
            _whole(inner)
    return value


#: Room ids travel in URLs, logs and file names: so none is "." or "..".
RoomId = Annotated[
    str, Meta(min_length=1, max_length=32, pattern=r"^(?!\.{1,2}\Z)[A-Za-z0-9._-]+\Z")
]
#: The same in words, instead of the pattern.
ROOM_ID_RULE = "1 to 32 of the characters A-Z a-z 0-9 . _ - (but not . or ..)"
SeatNumber = Annotated[int, Meta(ge=0, le=65535)]
#: Versions and numbers count from 1; 0 means "none yet".
Count = Annotated[int, Meta(ge=0, le=(1 << 53) - 1)]
#: Before play, during play, and after a round.
RoomState = Literal["gathering", "playing", "over"]


# Requests.


def is_room_id(text: str) -> bool:
    """May a room have this id?"""
    try:
        convert(text, RoomId)
    except ValidationError:
        return False
    return True


class JoinRoom(Request, frozen=True, tag="join_room", tag_field="type"):
    """
    Take a seat in a room, or return to yours; opens the room if it does not exist.

    :ivar game: one of the games of `Welcome`.
    :ivar room_id: which room. Without it you get a seat in any open room with these
        options, except rooms that you are in, that removed you, or that were opened
        with an id; if there is none, in a new one. The ``match_id`` of a match takes
        your seat in that match, or lets you watch it.
    :ivar options: the game's options, for a new room; players who join an existing room
        may leave them out.
    :ivar loadout: what you bring, if the game accepts anything.
    :ivar spectate: watch, without a seat; the room must exist.
    :ivar public: list a new room with an id, as those without are; otherwise only who
        knows its id finds it.
    :ivar create: false refuses with ``no_such_room`` instead of opening a room: for
        invitations, whose room may have closed. Without it, only an id of which a game
        has ended in the last 24 hours is refused so; true opens another room there.
    """

    game: ShortText
    room_id: RoomId | None = None
    options: Raw = Raw(b"{}")
    loadout: Raw = Raw(b"{}")
    spectate: bool = False
    public: bool = False
    create: bool | None = None


class LeaveRoom(Request, frozen=True, tag="leave_room", tag_field="type"):
    """
    Give up your seat for good.

    :ivar room_id: may be left out while you are in exactly one room.
    """

    room_id: RoomId | None = None


class ListRooms(Request, frozen=True, tag="list_rooms", tag_field="type"):
    """
    List the rooms.

    :ivar game: list rooms of this game only.
    :ivar state: list rooms in this state only.
    :ivar watch: true sends you changes too, in `RoomListUpdate`; false stops that; null
        changes nothing.
    :ivar limit: most rooms in the answer.
    :ivar matches: list the matches that you may watch instead of rooms; their changes
        come in `MatchListUpdate`.
    """

    game: ShortText | None = None
    state: RoomState | None = None
    watch: bool | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 50
    matches: bool = False


class MyGames(Request, frozen=True, tag="my_games", tag_field="type"):
    """
    List the rooms in which you have a seat, with any device that has your key or your
    account: those of games that last for days, wherever they sleep, and those in which
    your server keeps you a seat.
    """


class PeekRoom(Request, frozen=True, tag="peek_room", tag_field="type"):
    """
    Show a room once, as a spectator sees it, without entering it. Not for matches.

    :ivar room_id: of a listed room.
    """

    room_id: RoomId


class Action(Request, frozen=True, tag="action", tag_field="type"):
    """
    Play. ``data`` is the game's own action.

    ``room_id`` is not in ``data`` here but beside it, like ``id``, ``tick`` (the last
    fixed step of the state that you were shown) and ``seen``: the
    version of the latest state that you have, to which the server may send patches. The
    ``id`` must be a whole number that rises with each action; an action whose number is
    not above that of the last one applied is acknowledged again, but not applied again.
    """


class Ack(Request, frozen=True, tag="ack", tag_field="type"):
    """
    Acknowledge a state, without playing; there is no answer.

    :ivar seen: the version of the state.
    :ivar room_id: may be left out while you are in exactly one room.
    :ivar packed: send packed views from now on, if the game has any; their versions
        are then the only ones to name.
    """

    seen: Count
    room_id: RoomId | None = None
    packed: bool = False


class StartRoom(Request, frozen=True, tag="start_room", tag_field="type"):
    """
    Begin with the players who are here. Host only.

    :ivar room_id: may be left out while you are in exactly one room.
    """

    room_id: RoomId | None = None


class AddBot(Request, frozen=True, tag="add_bot", tag_field="type"):
    """
    Let the game's bot take a free seat. Host only.

    :ivar room_id: may be left out while you are in exactly one room.
    :ivar level: at which it plays; the game's first without it.
    """

    room_id: RoomId | None = None
    level: str | None = None


class KickSeat(Request, frozen=True, tag="kick", tag_field="type"):
    """
    Remove the player or bot in a seat; a removed player can't return. Host only.

    :ivar seat: the number of the seat.
    :ivar room_id: may be left out while you are in exactly one room.
    """

    seat: SeatNumber
    room_id: RoomId | None = None


class SetTeam(Request, frozen=True, tag="set_team", tag_field="type"):
    """
    Choose the team of a seat, for the next start: players then play in it. Host only.

    :ivar seat: the number of the seat; nobody needs to have it yet.
    :ivar team: counts from 0; null lets the server choose, which fills the smallest.
    :ivar room_id: may be left out while you are in exactly one room.
    """

    seat: SeatNumber
    team: Annotated[int, Meta(ge=0, le=65535)] | None
    room_id: RoomId | None = None


class Rematch(Request, frozen=True, tag="rematch", tag_field="type"):
    """
    Play again with the same seats, when a round is over. Host only.

    :ivar room_id: may be left out while you are in exactly one room.
    """

    room_id: RoomId | None = None


class Reconnect(Request, frozen=True, tag="reconnect", tag_field="type"):
    """
    Take your seat again after your connection was lost.

    :ivar resume: the secret of the latest `JoinRoomResult` or `ReconnectResult`; it is
        valid once.
    :ivar heard: the highest ``number`` that you had received with the latest state and
        before it. Leave out announcements after that state: they overtake events,
        which wait for their state. Without this field, everything counts as received
        that the server sent before it noticed the loss.
    """

    resume: SecretText
    heard: Count | None = None


#: All of these but `Action`, which takes a way of its own.
ROOM_REQUESTS: frozenset[type[Request]] = frozenset(
    (
        *(JoinRoom, LeaveRoom, ListRooms, PeekRoom, MyGames, Ack, Reconnect),
        *(StartRoom, AddBot, KickSeat, SetTeam, Rematch),
    )
)


# Answers and pushes.


class RoomSeat(Struct, frozen=True, omit_defaults=True):
    """
    A player or bot in a seat.

    :ivar player_id: empty for a bot.
    :ivar state: "here", "away" (connection lost, seat kept), "bot", or "left" (only in
        ``former``).
    :ivar team: the team that the host or the match's maker chose for it; left out if
        nobody did.
    """

    seat: int
    name: str
    player_id: str
    state: str
    team: int | None = None


class _Place(Push, frozen=True):
    """The fields that `JoinRoomResult` and `ReconnectResult` share."""

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

    :ivar seat: yours; null if you watch. It may change before the start: see
        `RoomStarted`.
    :ivar resume: secret: anyone who has it can take your place with `Reconnect`.
    :ivar state: "gathering", "playing" or "over".
    :ivar host: the seat that may kick, start and so on: that of the connected player
        who has been here longest; null while no player has a seat.
    :ivar players: who has which seat.
    :ivar options: the game's options.
    :ivar setup: the part of the game's view that never changes, if it has one.
    :ivar version: of the state; 0 before play begins.
    :ivar acted: id of your last applied action; 0 if there is none.
    :ivar number: the highest ``number`` so far in this room.
    :ivar former: players of the present game who have left, and whose seats are free.
    :ivar seats: the fewest and the most players, with these options.
    """

    former: tuple[RoomSeat, ...] = ()
    seats: tuple[int, int] | None = None


class ReconnectResult(_Place, frozen=True, tag="reconnect_result", tag_field="type"):
    """
    You have your place again; answers `Reconnect`.

    What you missed follows, then the state. Fields as in `JoinRoomResult`.

    :ivar lost: how many of the things you missed are no longer kept.
    """

    lost: int
    former: tuple[RoomSeat, ...] = ()
    seats: tuple[int, int] | None = None


class RoomDone(Push, frozen=True, tag="room_done", tag_field="type"):
    """
    Done; answers `LeaveRoom`, `StartRoom`, `AddBot`, `KickSeat`, `SetTeam` and
    `Rematch`.

    :ivar seat: the seat that changed, if one did.
    """

    room_id: str
    seat: int | None = None


class RoomFacts(Struct, frozen=True):
    """
    One room of a list.

    :ivar host: name of the host; empty if there is none.
    :ivar seats: the number of seats.
    :ivar taken: how many of them are taken, including by bots.
    :ivar open: can a newcomer take a seat now? False while nobody is connected, too.
    :ivar connected: how many players and spectators are connected. With 0 the room only
        keeps the seats of players whose connections were lost.
    """

    room_id: str
    game: str
    state: str
    host: str
    seats: int
    taken: int
    spectators: int
    open: bool
    connected: int = 0


class RoomList(Push, frozen=True, tag="rooms", tag_field="type"):
    """
    The list of rooms or matches; answers `ListRooms`.

    :ivar total: how many match the request, listed or not.
    """

    rooms: tuple[RoomFacts, ...]
    total: int


class OwnGame(Struct, frozen=True):
    """
    A room in which you have a seat; ``join_room`` with its id gives it to you.

    :ivar is_turn: does a game that lasts for days wait for you?
    :ivar due: in how many seconds something happens by itself, for example that a turn
        is over; null if nothing does, or it is not known.
    :ivar lasts: does it go on, and keep your seat, while nobody is connected?
    """

    room_id: str
    game: str
    state: str
    seat: int
    players: tuple[RoomSeat, ...]
    is_turn: bool
    due: float | None
    lasts: bool


class OwnGames(Push, frozen=True, tag="own_games", tag_field="type"):
    """Answers `MyGames`: those that wait for you first, the most urgent first."""

    games: tuple[OwnGame, ...]


class RoomPeek(Push, frozen=True, tag="room_peek", tag_field="type"):
    """
    How a room looks now; answers `PeekRoom`.

    :ivar state: "gathering", "playing" or "over".
    :ivar options: the game's options.
    :ivar setup: the part of the game's view that never changes, if it has one.
    :ivar view: what the game shows spectators; null if nothing is played, or if the
        game is played in a process of its own and nobody watches it.
    :ivar version: of that view.
    :ivar time: match time, seconds.
    :ivar tick: the last fixed step before that view; 0 if the game has none.
    """

    room_id: str
    game: str
    state: str
    players: tuple[RoomSeat, ...]
    options: Raw
    setup: Raw
    view: Raw
    version: int
    time: float
    tick: int


class RoomListUpdate(Push, frozen=True, tag="room_list_update", tag_field="type"):
    """
    Changes of the list, for clients that watch it; at most twice per second.

    :ivar changed: rooms as they are now.
    :ivar gone: ids of rooms that have closed, or no longer match the request.
    """

    changed: tuple[RoomFacts, ...]
    gone: tuple[str, ...]


class MatchListUpdate(Push, frozen=True, tag="match_list_update", tag_field="type"):
    """
    Changes of the list of matches, for clients that watch it; at most once per second.
    It covers the oldest matches, up to the `limit` of the request.

    :ivar changed: matches as they are now.
    :ivar gone: ids of matches that are over, or no longer match the request.
    """

    changed: tuple[RoomFacts, ...]
    gone: tuple[str, ...]


class ClientJoined(Push, frozen=True, tag="client_joined", tag_field="type"):
    """
    A player or spectator came.

    :ivar number: rises in each room; see `Reconnect`.
    :ivar seat: null for a spectator.
    :ivar how: "joined", "returned" (after a lost connection) or "bot".
    :ivar host: the host's seat from now on.
    :ivar team: the team chosen for the seat; null if nobody chose one.
    """

    room_id: str
    number: int
    seat: int | None
    name: str
    player_id: str
    how: str
    host: int | None
    team: int | None = None


class TeamSet(Push, frozen=True, tag="team_set", tag_field="type"):
    """
    The host chose the team of a seat.

    :ivar number: rises in each room; see `Reconnect`.
    :ivar seat: the number of the seat; perhaps nobody has it yet.
    :ivar team: counts from 0; null lets the server choose.
    """

    room_id: str
    number: int
    seat: int
    team: int | None


class ClientLeft(Push, frozen=True, tag="client_left", tag_field="type"):
    """
    A player or spectator left.

    :ivar number: rises in each room; see `Reconnect`.
    :ivar seat: null for a spectator.
    :ivar reason: "left", "kicked", "expired" (did not return in time), "forfeited"
        (away for too long, by the game's own rule), "vacated" (the game gave the seat
        up; its player watches from now on), or "lost" (connection lost, seat kept).
    :ivar host: the host's seat from now on.
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

    :ivar number: rises in each room; see `Reconnect`.
    :ivar seat: yours from now on; null if you watch.
    :ivar host: the host's seat.
    :ivar players: who has which seat.
    :ivar setup: the part of the game's view that never changes, if it has one.
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

    :ivar number: rises in each room; see `Reconnect`.
    :ivar outcome: ``{round, places, scores}``.
    :ivar version: of the state that shows the result.
    """

    room_id: str
    number: int
    version: int
    outcome: dict[str, Any]


class RoundBegan(Push, frozen=True, tag="round_began", tag_field="type"):
    """
    Another round has begun without the host's `Rematch`: the game has no outcome again.

    :ivar number: rises in each room; see `Reconnect`.
    :ivar version: of the state that shows the new round; it follows.
    """

    room_id: str
    number: int
    version: int


class RoomPaused(Push, frozen=True, tag="room_paused", tag_field="type"):
    """
    The room stands still, or goes on: the node cannot keep what happens in it.

    :ivar is_paused: true until nothing is lost any more if the node dies; match time
        stands still, and actions wait.
    """

    room_id: str
    is_paused: bool


class Kicked(Push, frozen=True, tag="kicked", tag_field="type"):
    """The host, an operator or the game removed you from a room."""

    room_id: str


class RoomClosed(Push, frozen=True, tag="room_closed", tag_field="type"):
    """
    A room has closed.

    :ivar reason: "finished", "abandoned", "crashed", "time_limit", "ended", "shutdown",
        or "lost" (its game process failed).
    :ivar outcome: of the last round, if one has ended.
    :ivar version: of the last state.
    :ivar view_hash: of the last public view: the first 16 hexadecimal digits of the
        SHA-256 of its MessagePack; empty if unknown.
    :ivar fault: with `vinom dev` and "crashed": the lines of the author's own code in
        the traceback; else empty.
    """

    room_id: str
    reason: str
    outcome: dict[str, Any] | None = None
    version: int = 0
    view_hash: str = ""
    fault: str = ""


class EventTold(Struct, frozen=True):
    """
    Something that happened once in a game.

    :ivar number: rises, with gaps: some events are for other players only.
    :ivar version: of the state that it belongs to.
    :ivar kind: what happened; the game defines it.
    :ivar data: the game's own.
    """

    number: int
    version: int
    kind: str
    data: Any = None


class GameState(Push, frozen=True, tag="game_state", tag_field="type"):
    """
    The state, as you may see it, in `view` or in `patch`.

    A client that reads slowly gets fewer, newer states.

    :ivar version: rises with each change; never goes back in one room.
    :ivar time: match time, seconds.
    :ivar tick: the last fixed step before it; missing if the game has none.
    :ivar ack: for each seat that sends ids, the ``id`` of its last applied action.
    :ivar view: what the game shows you.
    :ivar patch: a JSON merge patch (RFC 7396) to the view of version `base`.
    :ivar packed: the numbers of a packed view, base64.
    :ivar others: its fields without steps that changed: by index, the values.
    :ivar layout: of this packed view and later ones, if `base` is 0.
    :ivar base: the version of the view that `patch` or `packed` applies to.
    :ivar events: what happened since the state before, oldest first.
    :ivar skipped: how many states you were not sent before this one, because you read
        slowly.
    """

    room_id: str
    version: int
    time: float
    ack: dict[str, int]
    events: tuple[EventTold, ...] = ()
    view: Raw | UnsetType = UNSET
    patch: Raw | UnsetType = UNSET
    packed: str | UnsetType = UNSET
    others: Raw | UnsetType = UNSET
    layout: Raw | UnsetType = UNSET
    base: int | UnsetType = UNSET
    skipped: int = 0
    tick: int = 0
