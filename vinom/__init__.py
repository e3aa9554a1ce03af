"""Vinom: a game-session backend, from the lobby to an encrypted UDP match."""

from vinom._moved import keep_old_paths

__version__ = "0.1.0"

keep_old_paths()
