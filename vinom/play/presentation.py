"""How a game looks to the people who play it: its texts, colours and board files."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from inspect import getdoc
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs

from vinom.errors import Misconfigured
from vinom.game import Game

#: Files that pages may load, by suffix, with their media types.
MEDIA_TYPES = {
    ".avif": "image/avif",
    ".css": "text/css; charset=utf-8",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wav": "audio/wav",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}

_SCRIPTS = (".js", ".mjs")
_IMAGES = (".avif", ".gif", ".jpeg", ".jpg", ".png", ".svg", ".webp")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]*|[a-z]+|[0-9]+")
#: Longest texts, characters.
_LONGEST = {"title": 64, "about": 400, "rules": 10_000}
#: Longest name of a player or bot, characters.
_LONGEST_NAME = 24


@attrs.frozen
class Presentation:
    """
    What a page shows of a game before and beside its play.

    :ivar title: for people, such as "Connect Four".
    :ivar about: one sentence or two.
    :ivar rules: how to play; blank lines separate paragraphs. May be empty.
    :ivar colours: of the seats, "#rrggbb"; empty for the page's own.
    :ivar icon: the image; ``None`` for the page's own. Like *board*, the name of one of
        *files*, or with "/" in front a file of the site.
    :ivar board: the ES module that draws the game; ``None`` for the generic page.
    :ivar files: everything that pages may load of this game, by name.
    """

    title: str
    about: str
    rules: str = ""
    colours: tuple[str, ...] = ()
    icon: str | None = None
    board: str | None = None
    files: Mapping[str, Path] = attrs.field(factory=dict)


def present(game: Game[Any, Any] | type[Game[Any, Any]]) -> Presentation:
    """
    Read how a game looks, and find its files.

    :raises Misconfigured: a declaration is wrong, or a file is missing.
    """
    cls = game if isinstance(game, type) else type(game)
    for name in ("title", "about", "rules", "icon", "board"):
        given = getattr(cls, name)
        if not isinstance(given, str):
            raise Misconfigured(f"{name} {given!r} must be text")
        if len(given) > _LONGEST.get(name, 255):
            raise Misconfigured(
                f"{name} has {len(given)} characters, the limit is "
                f"{_LONGEST.get(name, 255)}"
            )
    for name in ("colours", "bot_names", "board_files"):
        given = getattr(cls, name)
        if not isinstance(given, tuple) or not all(isinstance(s, str) for s in given):
            raise Misconfigured(f"{name} {given!r} must be a tuple of texts")
    for colour in cls.colours:
        if not _COLOUR.fullmatch(colour):
            raise Misconfigured(f"colours: {colour!r} must look like #2f6fde")
    for bot in cls.bot_names:
        if not (1 <= len(bot.strip()) <= _LONGEST_NAME and bot.isprintable()):
            raise Misconfigured(
                f"bot_names: {bot!r} must have 1 to {_LONGEST_NAME} characters, all of "
                "them printable"
            )
    title = cls.title or title_from(cls.__name__)
    summary, _, more = _docstring(cls).partition("\n\n")
    rules = (cls.rules or more).strip()
    return Presentation(
        title,
        cls.about or _without_title(" ".join(summary.split()), title),
        "\n".join(line.strip() for line in rules.splitlines()),
        cls.colours,
        cls.icon or None,
        cls.board or None,
        dict(_files(cls)),
    )


def title_from(name: str) -> str:
    """Make a title from a class name: "Connect Four" from "ConnectFour"."""
    words = _WORD.findall(name) or [name]
    return " ".join(word[:1].upper() + word[1:] for word in words)


def folder_of(cls: type[Game[Any, Any]]) -> Path:
    """
    Find the folder of a game's module.

    :raises Misconfigured: the module comes from no file.
    """
    found = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if found is None or not Path(found).is_file():
        raise Misconfigured(
            f"the module {cls.__module__} has no file, so no board can be beside it"
        )
    return Path(found).resolve().parent


def _files(cls: type[Game[Any, Any]]) -> Iterator[tuple[str, Path]]:
    """Find the files that a game names, beside its module."""
    wanted = (
        [("board", cls.board, _SCRIPTS)]
        + [("icon", cls.icon, _IMAGES)]
        + [("board_files", name, tuple(MEDIA_TYPES)) for name in cls.board_files]
    )
    for field, name, suffixes in wanted:
        if not name:
            continue
        parts = name.removeprefix("/").split("/")
        if "\\" in name or any(part.startswith(".") or not part for part in parts):
            raise Misconfigured(
                f'{field} {name!r} must be a plain path such as "board.js" or '
                '"images/red.svg"; no part of it may begin with a dot'
            )
        if Path(name).suffix not in suffixes:
            raise Misconfigured(
                f"{field} {name!r} must end with one of {', '.join(suffixes)}"
            )
        if name.startswith("/"):
            if field == "board_files":
                raise Misconfigured(f"{field} {name!r} must not begin with a slash")
            continue
        folder = folder_of(cls)
        path = folder.joinpath(*parts)
        if not path.is_file():
            raise Misconfigured(f"{field} {name!r}: there is no such file in {folder}")
        # A link may lead out of the folder.
        if not path.resolve().is_relative_to(folder):
            raise Misconfigured(f"{field} {name!r} must be a file inside {folder}")
        yield name, path


def address_of(game: str, file: str | None) -> str | None:
    """
    Make the address of one of a game's files, relative to the page.

    :param game: its name in requests.
    :param file: as in `Presentation.board`.
    """
    if file is None:
        return None
    if file.startswith("/"):
        return quote(file[1:])
    return f"games/{quote(game, safe='')}/{quote(file)}"


def _docstring(cls: type[Game[Any, Any]]) -> str:
    """Take the docstring of the game's module, or else of its class."""
    module = sys.modules.get(cls.__module__)
    text = getdoc(module) if module is not None and module.__doc__ else cls.__doc__
    return (text or "").strip()


def _without_title(about: str, title: str) -> str:
    """Drop the title where a description begins with it, as in "Pig: roll a die"."""
    head, colon, rest = about.partition(":")
    if colon and rest and head.casefold().split() == title.casefold().split():
        rest = rest.strip()
        return rest[:1].upper() + rest[1:]
    return about
