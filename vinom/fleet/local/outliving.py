"""
How long a game server may outlive its node, as the fork server reads it.

A game server that hangs does not end by itself when its node is gone. The fork server
kills it then, so it has to know which ones hang and which ones play on. Each writes
that in a byte that the two share.
"""

from __future__ import annotations

from mmap import mmap

#: It ends with its node.
ENDS = 0
#: It has a match: it plays on until its lease is over.
PLAYS_ON = 1
#: Another node has adopted it, and watches it.
IS_ADOPTED = 2

# That of this process; none in a process that no fork server watches.
_page: mmap | None = None


def make_page() -> mmap:
    """Make what a game server and the fork server share; before the fork."""
    return mmap(-1, 1)


def use_page(page: mmap) -> None:
    """Write to this one from now on; in the game server."""
    global _page
    _page = page


def outlives(how: int) -> None:
    """Note how long this game server may outlive its node."""
    if _page is not None:
        _page[0] = how
