"""The game servers there are, and who of them is at hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import get_args

from vinom.rules.server_life import Stage
from vinom.services.fleet_server import GameServer

_STAGES: tuple[Stage, ...] = get_args(Stage)


class Roster:
    """Game servers in the order of their start, until they are gone."""

    def __init__(self) -> None:
        self._servers: dict[str, GameServer] = {}

    def __len__(self) -> int:
        return len(self._servers)

    def __iter__(self) -> Iterator[GameServer]:
        return iter(self._servers.values())

    def __getitem__(self, server_id: str) -> GameServer:
        return self._servers[server_id]

    def get(self, server_id: str) -> GameServer | None:
        """Find one by its id."""
        return self._servers.get(server_id)

    def add(self, server: GameServer) -> None:
        """One more."""
        self._servers[server.server_id] = server

    def remove(self, server: GameServer) -> None:
        """It is gone."""
        del self._servers[server.server_id]

    # Who is at hand.

    def any(self, stage: Stage) -> GameServer | None:
        """Find the oldest of this stage."""
        return next((server for server in self if server.stage == stage), None)

    def any_with_room(self) -> GameServer | None:
        """Find the oldest that can host one more, of those with too much to do last."""
        found = (s for s in self if s.stage == "listening" and s.rooms.spare)
        return min(found, key=lambda server: server.is_overloaded, default=None)

    def host_of(self, match_id: str) -> GameServer | None:
        """Find where a match is played."""
        return next((s for s in self if match_id in s.rooms.match_ids), None)

    # How many.

    def by_stage(self) -> dict[str, int]:
        """Count them by stage of their life; each stage is there."""
        stages = Counter(server.stage for server in self)
        return {stage: stages[stage] for stage in _STAGES}

    @property
    def matches(self) -> int:
        """Matches that have a game server."""
        return sum(len(server.rooms.match_ids) for server in self)

    @property
    def coming(self) -> int:
        """Matches that game servers could host which are about to listen."""
        return sum(s.rooms.spare for s in self if s.stage == "binding")
