"""
Game servers that outlive their node: for how long, and how the next node reaches them.

A game server that hangs does not exit by itself when its node is gone, so the fork
server kills it. It must know which game servers hang and which go on: each writes this
into a byte that it shares with the fork server.

A game server behind its wall cannot open a socket, and so cannot dial a second time. It
gets a mailbox: a datagram socket that its node has bound to a name in the state
directory. The owner of that directory, the next node, can pass it open files there: one
end of a new control link, and a pipe for its log.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from mmap import mmap
from pathlib import Path

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


#: The bytes that come with the files; a letter with other bytes is ignored.
LETTER = b"link"
#: Number of files in a letter: the link, and the pipe for its log.
FILES = 2

_SUFFIX = ".mail"


def make_mailbox(folder: Path, server_id: str) -> int:
    """
    Make the mailbox of a game server.

    :param folder: private to the node; made if it is missing.
    :returns: the descriptor to pass to the game server, which the caller closes.
    :raises OSError: it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    remove_mailbox(folder, server_id)
    box = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        with _named(folder, server_id) as name:
            box.bind(name)
        # Permanently: with a socket that can send it could write to others' mailboxes.
        box.shutdown(socket.SHUT_WR)
    except OSError:
        box.close()
        raise
    box.setblocking(False)
    return box.detach()


def post(folder: Path, server_id: str, descriptors: Sequence[int]) -> bool:
    """
    Pass open files to a game server; ``False`` if no process has the mailbox any more.

    :param descriptors: as many as `FILES`; they stay open here.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            with _named(folder, server_id) as name:
                sender.connect(name)
            socket.send_fds(sender, [LETTER], list(descriptors))
        except OSError:
            return False
    return True


def take_letter(box: int) -> tuple[int, int] | None:
    """
    Read the oldest letter in a mailbox.

    :param box: the mailbox's descriptor.
    :returns: the link and the pipe, which the caller closes; ``None`` if there is no
        letter, or if it is not one of ours.
    """
    taken = socket.socket(fileno=os.dup(box))
    with taken:
        try:
            data, descriptors, _, _ = socket.recv_fds(
                taken, 64, FILES, socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
            )
        except OSError:
            return None
    if data == LETTER and len(descriptors) == FILES:
        return descriptors[0], descriptors[1]
    for one in descriptors:
        os.close(one)
    return None


def remove_mailbox(folder: Path, server_id: str) -> None:
    """Remove the name of a mailbox, if it has one."""
    with suppress(OSError):
        (folder / f"{server_id}{_SUFFIX}").unlink()


def has_mailbox(folder: Path, server_id: str) -> bool:
    """Does a game server read the mailbox of this name, and may this user write?"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            with _named(folder, server_id) as name:
                sender.connect(name)
        except OSError:
            return False
    return True


def clear_mailboxes(folder: Path, kept: Sequence[str]) -> None:
    """
    Remove the mailboxes of game servers that are gone.

    Those that go on with another node keep theirs, because a later node may need it.

    :param kept: ids of the game servers that are expected here.
    """
    for one in folder.glob(f"*{_SUFFIX}"):
        server_id = one.name.removesuffix(_SUFFIX)
        if server_id not in kept and not has_mailbox(folder, server_id):
            one.unlink(missing_ok=True)


@contextmanager
def _named(folder: Path, server_id: str) -> Iterator[str]:
    """Return a short path of a mailbox: a socket's path has at most 107 bytes."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{opened}/{server_id}{_SUFFIX}"
    finally:
        os.close(opened)
