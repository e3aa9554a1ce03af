"""
The messages of outside matchmakers: ``POST /v1/matches`` on the admin port.

Source: docs/protocol/lobby.rst, section "Outside matchmakers".
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, MsgspecError, Raw, Struct, json

from vinom.base.messages.envelope import ShortText
from vinom.base.messages.lobby import MatchFound
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
