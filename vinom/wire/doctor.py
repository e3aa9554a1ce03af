"""
Questions that ``vinom doctor`` asks a UDP port, and their answers.

A question is `_ASKS`, a nonce of 16 bytes, and zeros; the answer is `_ANSWERS`, the
same nonce, and as many zeros: exactly as long, so that nobody gains by asking in
another's name. An answer is no question, so that two who answer never begin to talk.
"""

from __future__ import annotations

_ASKS = b"vinom doctor asks:"
_ANSWERS = b"vinom doctor says:"
NONCE_LENGTH = 16
#: Shortest question, bytes.
SHORTEST = len(_ASKS) + NONCE_LENGTH


def question(nonce: bytes, size: int = SHORTEST) -> bytes:
    """
    Write a question.

    :param nonce: by which the answer will be known; nobody else can guess it.
    :param size: how long it is to be, bytes.
    :raises ValueError: it cannot be.
    """
    if len(nonce) != NONCE_LENGTH or size < SHORTEST:
        raise ValueError(
            f"a nonce has {NONCE_LENGTH} bytes, and a question {SHORTEST} or more"
        )
    return (_ASKS + nonce).ljust(size, b"\0")


def answer_to(datagram: bytes) -> bytes | None:
    """Write the answer to a question; ``None`` if it is something else."""
    if len(datagram) < SHORTEST or not datagram.startswith(_ASKS):
        return None
    nonce = datagram[len(_ASKS) : SHORTEST]
    return (_ANSWERS + nonce).ljust(len(datagram), b"\0")


def is_answer(datagram: bytes, nonce: bytes, size: int = SHORTEST) -> bool:
    """Is it the whole answer to the question of this nonce and size?"""
    return len(datagram) == size and datagram.startswith(_ANSWERS + nonce)
