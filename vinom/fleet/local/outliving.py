"""
How long a game server may outlive its node, in a byte that the fork server reads.

A game server that hangs does not exit by itself when its node is gone, so the fork
server kills it. It must know which game servers hang and which go on: each writes this
into a byte that it shares with the fork server.
"""

from __future__ import annotations

from mmap import mmap

#: The game server exits with its node.
ENDS = 0
#: It has a match, and goes on until its lease is over.
PLAYS_ON = 1
#: Another node has adopted it, and watches it.
IS_ADOPTED = 2

# The byte of this process; none if no fork server watches it.
_page: mmap | None = None


def make_page() -> mmap:
    """Make the shared byte of a game server and the fork server, before the fork."""
    return mmap(-1, 1)


def use_page(page: mmap) -> None:
    """Use this byte from now on, in the game server."""
    global _page
    _page = page


def outlives(how: int) -> None:
    """Note how long this game server may outlive its node."""
    if _page is not None:
        _page[0] = how
