"""Vinom: a game-session backend, from the lobby to an encrypted UDP match."""

__version__ = "0.1.0"
