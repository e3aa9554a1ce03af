"""Match players whose names begin with the same letter; after a while, anybody."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from vinom.base.model import QueueEntry
from vinom.lobby.matchmaking.rules.rule import Finding, Proposal, Rule


class ByNameSettings(Struct, frozen=True, forbid_unknown_fields=True):
    anybody_seconds: Annotated[float, Meta(ge=0)] = 20.0


class ByName(Rule):
    settings = ByNameSettings

    def find(self, entries: Sequence[QueueEntry], now: float) -> Finding:
        most = self.shape.most
        letters: dict[str, list[QueueEntry]] = {}
        for number, entry in enumerate(entries):
            if number % 100 == 0:
                yield None  # let the server do other work
            if len(entry.players) > 1:
                continue  # this rule is for lone players
            if now >= entry.since + self.chosen.anybody_seconds:
                letter = ""
            else:
                letter = entry.players[0].name[0].lower()
            alike = letters.setdefault(letter, [])
            alike.append(entry)
            if len(alike) == most:
                yield Proposal(tuple(alike), self.teams(most))
                del letters[letter]
        waits = (
            entry.since + self.chosen.anybody_seconds
            for letter, alike in letters.items()
            for entry in alike
            if letter
        )
        return min(waits, default=None)

    def teams(self, players: int) -> tuple[int, ...]:
        teams = self.shape.teams
        return tuple(one % teams for one in range(players)) if teams else ()
