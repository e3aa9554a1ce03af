"""Matches of an outside matchmaker: it chooses the seats, we find the game server."""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vinom.base.messages.operators import OutsidePlayer, OutsideSeat, StartedMatch
from vinom.base.model import Player, SeatPlan
from vinom.base.printable import ID_RULE, is_id
from vinom.errors import Code, Refused
from vinom.game import Game
from vinom.lobby.conversation.identity import Identity
from vinom.lobby.matches.service import Matches
from vinom.play.choices import (
    canonical_claims,
    canonical_loadout,
    canonical_options,
    clean_name,
    game_named,
    seats_for,
)


class OutsideMatches:
    """Serve an outside matchmaker."""

    def __init__(
        self,
        matches: Matches,
        identity: Identity,
        games: Mapping[str, Game[Any, Any]],
        entropy: Callable[[int], bytes],
    ) -> None:
        """
        :param matches: starts the matches.
        :param identity: makes keys for its players.
        :param games: by name.
        :param entropy: called with a number, returns that many random bytes.
        """
        self._matches, self._identity = matches, identity
        self._games, self._entropy = games, entropy

    async def start(
        self, game: str, players: Sequence[OutsidePlayer], options: bytes = b"{}"
    ) -> StartedMatch:
        """
        Start a match; return what every player needs to join it.

        Waits until a game server listens; cancelling withdraws the match.

        :raises Refused: `UNKNOWN_GAME`, `BAD_OPTIONS`, `BAD_LOADOUT`, `BAD_FIELD`,
            `NAME_REFUSED`, `ALREADY_IN_MATCH`, `DRAINING` or `UNAVAILABLE`.
        """
        plugin = game_named(self._games, game, "game")
        chosen = canonical_options(plugin, options, "options")
        fewest, most = seats_for(plugin, chosen)
        if not fewest <= len(players) <= most:
            raise Refused(
                Code.BAD_FIELD,
                f"{game} takes {fewest} to {most} players",
                {"field": "players", "min": fewest, "max": most},
            )
        for number, asked in enumerate(players):
            if asked.player_id is not None and not is_id(asked.player_id):
                raise Refused(
                    Code.BAD_FIELD,
                    f"player_id {asked.player_id!r} must be {ID_RULE}",
                    {"field": f"players[{number}].player_id"},
                )
        known = [
            Player(
                asked.player_id or self._new_id(),
                clean_name(asked.name, f"players[{number}].name"),
            )
            for number, asked in enumerate(players)
        ]
        if len({player.player_id for player in known}) < len(known):
            raise Refused(
                Code.BAD_FIELD, "a player is listed twice", {"field": "players"}
            )
        _ensure_teams(players, plugin.teams, game)
        is_dealt = all(asked.team is None for asked in players)
        seats = tuple(
            SeatPlan(
                player.player_id,
                player.name,
                canonical_loadout(
                    plugin, bytes(asked.loadout), f"players[{number}].loadout"
                ),
                number % plugin.teams if plugin.teams and is_dealt else asked.team,
                canonical_claims(asked.claims, f"players[{number}].claims"),
            )
            for number, (player, asked) in enumerate(zip(known, players, strict=True))
        )
        found = await self._matches.start_seats(game, chosen, seats)
        keys = [(await self._identity.introduce(player)).key for player in known]
        self._matches.learn_keys(found[0].match_id)
        return StartedMatch(
            found[0].match_id,
            tuple(
                OutsideSeat(player.player_id, key, push)
                for player, key, push in zip(known, keys, found, strict=True)
            ),
        )

    def _new_id(self) -> str:
        return b32encode(self._entropy(16)).decode().rstrip("=").lower()


def _ensure_teams(
    players: Sequence[OutsidePlayer], teams: int | None, game: str
) -> None:
    """
    Check the teams that a matchmaker chose.

    :raises Refused: `BAD_FIELD`: the game has no such team.
    """
    has = f"has teams 0 to {teams - 1}" if teams else "has no teams"
    for number, asked in enumerate(players):
        if asked.team is not None and not 0 <= asked.team < (teams or 0):
            raise Refused(
                Code.BAD_FIELD,
                f"team {asked.team} does not exist: {game} {has}",
                {"field": f"players[{number}].team"},
            )
