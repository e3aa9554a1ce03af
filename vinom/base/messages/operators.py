"""
What operators' programs and nodes say to each other about matches.

Outside matchmakers start them with ``POST /v1/matches`` on the admin port (source:
docs/protocol/lobby.rst, section "Outside matchmakers"). Results are written in the same
way in the admin API, in webhooks and in stores (source: docs/howto/results.rst, section
"What a result says").
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, MsgspecError, Raw, Struct, json, structs

from vinom.base.messages.envelope import ShortText
from vinom.base.messages.lobby import MatchFound
from vinom.base.model import KeptResult, Result, ResultSeat, ResultState, TurnNotice
from vinom.errors import Code, Refused, field_of

#: Most players of one match that an outside matchmaker starts.
MOST_PLAYERS = 64


class OutsidePlayer(Struct, frozen=True, forbid_unknown_fields=True):
    """
    One of the players.

    :ivar player_id: of a player you know; without it the server makes a new one.
    :ivar team: counts from 0. Players without one join the smallest team; if nobody has
        one, players are dealt to the teams in turn.
    :ivar claims: what you vouch for, for the game alone: a JSON object.
    """

    name: str
    player_id: ShortText | None = None
    loadout: Raw = Raw(b"{}")
    team: int | None = None
    claims: dict[str, Any] = {}


class StartMatch(Struct, frozen=True, forbid_unknown_fields=True):
    """Start this match; a player's seat is its index."""

    game: ShortText
    players: Annotated[
        tuple[OutsidePlayer, ...], Meta(min_length=1, max_length=MOST_PLAYERS)
    ]
    options: Raw = Raw(b"{}")


class OutsideSeat(Struct, frozen=True):
    """
    What to give to one player.

    :ivar player_key: secret: with it the player finds its match again in the lobby.
    :ivar match_found: the message that the lobby would have sent.
    """

    player_id: str
    player_key: str
    match_found: MatchFound


class StartedMatch(Struct, frozen=True):
    """A game server is listening for the players of the match."""

    match_id: str
    seats: tuple[OutsideSeat, ...]


_starts = json.Decoder(StartMatch)


def decode_start(body: bytes) -> StartMatch:
    """
    Decode the request.

    :raises Refused: `BAD_MESSAGE` or `BAD_FIELD`; the details name the field.
    """
    try:
        return _starts.decode(body)
    except (MsgspecError, UnicodeDecodeError, RecursionError) as error:
        field = field_of(str(error))
        code = Code.BAD_MESSAGE if field is None else Code.BAD_FIELD
        raise Refused(code, str(error), {"field": field} if field else {}) from None


class SeatFacts(Struct, frozen=True):
    """
    Who had a seat.

    :ivar player_id: ``None`` for a bot.
    """

    seat: int
    player_id: str | None
    name: str
    team: int | None


class ResultFacts(Struct, frozen=True):
    """A result; its fields are those of `vinom.base.model.Result`."""

    id: str
    match_id: str
    round: int
    game: str
    options: Raw
    seats: tuple[SeatFacts, ...]
    places: tuple[tuple[int, ...], ...]
    scores: tuple[int | float | None, ...]
    reason: str
    recording: str | None
    time: float
    event: str = "over"


class TurnFacts(Struct, frozen=True, tag="your_turn", tag_field="event"):
    """A notice; its fields are those of `vinom.base.model.TurnNotice`."""

    id: str
    match_id: str
    room_id: str
    game: str
    seat: int
    player_id: str
    name: str
    version: int
    due: float | None
    time: float


class KeptFacts(Struct, frozen=True):
    """
    A result of a store, in a list.

    :ivar cursor: of this result: the next request asks for those after it.
    :ivar why: why the last try to send it failed.
    """

    cursor: str
    result: Raw
    state: ResultState
    tries: int
    why: str | None


_results = json.Decoder(ResultFacts)
_turns = json.Decoder(TurnFacts)
_TURN = b'{"event":"your_turn"'
_encode = json.Encoder().encode


def encode_result(result: Result | TurnNotice) -> bytes:
    """Write a result, or a notice, as JSON."""
    if isinstance(result, TurnNotice):
        return _encode(
            TurnFacts(
                result.result_id,
                result.match_id,
                result.room_id,
                result.game,
                result.seat,
                result.player_id,
                result.name,
                result.version,
                result.due,
                result.at,
            )
        )
    return _encode(
        ResultFacts(
            result.result_id,
            result.match_id,
            result.round,
            result.game,
            Raw(result.options),
            tuple(
                SeatFacts(number, seat.player_id or None, seat.name, seat.team)
                for number, seat in enumerate(result.seats)
            ),
            result.places,
            result.scores,
            result.reason,
            result.recording or None,
            result.at,
        )
    )


def decode_result(text: bytes) -> Result | TurnNotice:
    """
    Read what `encode_result` wrote.

    :raises msgspec.MsgspecError: it is something else.
    """
    if text.startswith(_TURN):
        turn = _turns.decode(text)
        return TurnNotice(
            turn.match_id,
            turn.room_id,
            turn.game,
            turn.seat,
            turn.player_id,
            turn.name,
            turn.version,
            turn.due,
            turn.time,
        )
    facts = _results.decode(text)
    return Result(
        match_id=facts.match_id,
        round=facts.round,
        game=facts.game,
        options=bytes(facts.options),
        seats=tuple(
            ResultSeat(seat.player_id or "", seat.name, seat.team)
            for seat in facts.seats
        ),
        places=facts.places,
        scores=facts.scores,
        reason=facts.reason,
        recording=facts.recording or "",
        at=facts.time,
    )


def kept_facts(kept: KeptResult) -> dict[str, object]:
    """Describe a kept result for a list: JSON-like."""
    return structs.asdict(
        KeptFacts(
            kept.cursor,
            Raw(encode_result(kept.result)),
            kept.state,
            kept.tries,
            kept.why or None,
        )
    )
