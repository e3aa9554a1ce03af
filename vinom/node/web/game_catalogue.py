"""``/games.json``: all that a page needs to play any game."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from msgspec import Raw, json
from twisted.web.server import Request

from vinom.game import Game
from vinom.net.web.answers import Page, answer
from vinom.play.presentation import Presentation, address_of, present


class GameCatalogue(Page):
    """Describe every game: seats, and what actions and options look like."""

    def __init__(
        self,
        games: Mapping[str, Game[Any, Any]],
        dev_notes: Path | None = None,
    ) -> None:
        """
        :param games: by name.
        :param dev_notes: a file of ``vinom dev``, for the page of a game that is being
            written: JSON with ``game``, ``build`` and ``error``.
        """
        super().__init__()
        self._games = {
            name: described(game) | shown(name, present(game))
            for name, game in sorted(games.items(), key=_place)
        }
        self._dev_notes = dev_notes

    def render_GET(self, request: Request) -> bytes:
        found: dict[str, Any] = {"games": self._games}
        if self._dev_notes is not None:
            found["dev"] = Raw(self._dev_notes.read_bytes())
        return answer(request, found)


def described(game: Game[Any, Any]) -> dict[str, Any]:
    """Describe one game: JSON-like; schemas are JSON Schema 2020-12."""
    actions = get_args(game.actions) or (game.actions,)
    return {
        "seats": list(game.seats),
        "late_join": game.late_join,
        "teams": game.teams,
        "tick_hz": game.tick_hz,
        "has_bot": type(game).bot is not Game.bot,
        "actions": [_schema(action) for action in actions],
        "options": _schema(game.options),
        "loadout": _schema(game.loadout),
    }


def shown(name: str, look: Presentation) -> dict[str, Any]:
    """
    Describe how a game looks: JSON-like.

    :param name: of the game in requests; its files are served below it.
    """
    return {
        "title": look.title,
        "about": look.about,
        "rules": look.rules,
        "colours": look.colours,
        "icon": address_of(name, look.icon),
        "board": address_of(name, look.board),
    }


def _place(entry: tuple[str, Game[Any, Any]]) -> tuple[bool, str]:
    """Sort games by title, those of the server's owner before Vinom's own."""
    _, game = entry
    return type(game).__module__.startswith("vinom.games."), present(game).title


def _schema(kind: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.schema(kind)
    except TypeError:
        # A type of the author's without a schema, which can be sent as JSON.
        return {"title": getattr(kind, "__name__", str(kind))}
    return found
