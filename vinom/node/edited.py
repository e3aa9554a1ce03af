"""
The node of ``vinom dev``: it goes on by the rules that were saved last.

``vinom dev`` loads a saved game in another process first, and writes a note for this
one, which loads it then. The class of the game that everything here shares becomes the
new one; so nothing keeps the rules from before.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from vinom.errors import Misconfigured
from vinom.game import Game
from vinom.play.game_loader import load_game, name_of
from vinom.rooms.rooms import Rooms

_log = Logger()

#: Seconds between two looks at the notes.
_PAUSE = 0.05


class Notes(Struct, frozen=True):
    """
    What ``vinom dev`` tells its node, and the page.

    :ivar game: its name, or, while it cannot be loaded, what was asked for.
    :ivar build: counts the versions of its files.
    :ivar pages: the build with which pages load themselves again.
    :ivar rules: the build whose rules the node plays by.
    :ivar error: why it cannot be loaded; empty if it can.
    :ivar spec: ``package.module:Class``.
    :ivar modules: files of the author's own modules.
    :ivar is_guarded: are calls into it ended that take too long?
    """

    game: str
    build: int
    pages: int
    rules: int
    error: str
    spec: str
    modules: tuple[str, ...] = ()
    is_guarded: bool = True


def read_notes(path: Path) -> Notes:
    """Read the notes."""
    return msgspec.json.decode(path.read_bytes(), type=Notes)


class EditedGames(Service):
    """
    Take over the rules that an author saves, in all rooms.

    :ivar rooms: set before it starts.
    """

    name = "edited games"

    def __init__(self, path: Path, games: Mapping[str, Game[Any, Any]]) -> None:
        """
        :param path: of the notes.
        :param games: by name.
        """
        self._path, self._games = path, games
        self._rules = read_notes(path).rules
        self._stamp = 0
        self.rooms: Rooms
        self._looking = LoopingCall(self._look)

    def startService(self) -> None:
        Service.startService(self)
        self._looking.start(_PAUSE)

    def stopService(self) -> None:
        Service.stopService(self)
        self._looking.stop()

    def facts(self) -> dict[str, Any]:
        """Describe for the page what was saved, and what became of it."""
        notes = read_notes(self._path)
        return {
            **{
                name: getattr(notes, name)
                for name in ("game", "build", "pages", "error")
            },
            "rules": self._rules,
            "told": self.rooms.told,
        }

    def _look(self) -> None:
        stamp = self._path.stat().st_mtime_ns
        if stamp == self._stamp:
            return
        self._stamp, notes = stamp, read_notes(self._path)
        if notes.rules != self._rules:
            self._rules = notes.rules
            try:
                self.revise(notes)
            except Misconfigured as error:
                _log.error("{why}", why=str(error))

    def revise(self, notes: Notes) -> None:
        """
        Load the game again, and let its rooms go on by it.

        :raises Misconfigured: it cannot be loaded after all.
        """
        _forget(notes.modules)
        fresh = load_game(notes.spec)
        game = self._games[name_of(fresh)]
        # Everything here shares this object, and asks it for what it knows of the game.
        vars(game).clear()
        vars(game).update(vars(fresh))
        game.__class__ = type(fresh)
        all_told = self.rooms.told
        assert all_told is not None
        all_told.clear()
        for room in tuple(self.rooms.directory.rooms.values()):
            if room.game is game and (told := room.policy.revise(room)):
                all_told[room.room_id] = told
                # `vinom dev` prints warnings.
                log = _log.info if told.endswith(" inputs kept") else _log.warn
                log("room {room_id}: {told}", room_id=room.room_id, told=told)


def _forget(files: Iterable[str]) -> None:
    """Have these modules imported again."""
    paths = set(files)
    for name, module in tuple(sys.modules.items()):
        if os.path.realpath(getattr(module, "__file__", None) or "") in paths:
            del sys.modules[name]
    importlib.invalidate_caches()
    # By its time in whole seconds and its size, Python may take an older one for this.
    sys.dont_write_bytecode = True
