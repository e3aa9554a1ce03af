"""
Results as others read them: in the admin API, in webhooks, and in stores.

Source: docs/howto/results.rst, section "What a result says".
"""

from __future__ import annotations

from msgspec import Raw, Struct, json, structs

from vinom.base.model import KeptResult, Result, ResultSeat, ResultState


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
_encode = json.Encoder().encode


def encode_result(result: Result) -> bytes:
    """Write a result as JSON."""
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


def decode_result(text: bytes) -> Result:
    """
    Read what `encode_result` wrote.

    :raises msgspec.MsgspecError: it is something else.
    """
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
