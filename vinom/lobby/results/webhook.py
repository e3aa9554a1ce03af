"""
Requests with results: how they are signed, and when they are tried again.

Headers and signature are those of Standard Webhooks, for which there are libraries in
many languages. Source: docs/howto/results.rst, section "Verify the signature".
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable
from typing import Literal

import attrs

from vinom.base.messages.operators import encode_result
from vinom.base.model import Result, TurnNotice
from vinom.errors import Misconfigured

#: What a secret in its file begins with.
PREFIX = b"whsec_"
#: Lengths of secrets, bytes.
_SHORTEST, _LONGEST = 24, 64
#: Most secrets in use at once: the old one and the new one, and some room.
MOST_SECRETS = 4

#: The time until the second try, and the longest one between two, seconds.
_FIRST_DELAY = 1.0
LONGEST_DELAY = 600.0
#: Longest wait that a receiver may ask for, seconds.
LONGEST_ASKED = 3600.0

#: Refusals that may pass: timeout, too early, too many requests.
_PASSING = (408, 425, 429)


def read_secrets(text: bytes, source: str) -> tuple[bytes, ...]:
    """
    Read the secrets that requests are signed with, one per line.

    :param text: the content of a file.
    :param source: names the file in errors.
    :raises Misconfigured: it has none, too many, or something else.
    """
    lines = [line.strip() for line in text.split(b"\n") if line.strip()]
    if not 1 <= len(lines) <= MOST_SECRETS:
        raise Misconfigured(
            f"{source} must contain 1 to {MOST_SECRETS} secrets, one per line, not "
            f"{len(lines)}"
        )
    return tuple(_read_secret(line, source) for line in lines)


def _read_secret(line: bytes, source: str) -> bytes:
    secret = b""
    if line.startswith(PREFIX):
        try:
            secret = base64.b64decode(line.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            secret = b""
    if not _SHORTEST <= len(secret) <= _LONGEST:
        # Without the line: it may be a secret all the same.
        raise Misconfigured(
            f"each line of {source} must be {PREFIX.decode()} and the Base64 of "
            f"{_SHORTEST} to {_LONGEST} random bytes; write one with: "
            'echo "whsec_$(openssl rand -base64 32)"'
        )
    return secret


def sign(secrets: tuple[bytes, ...], id: str, timestamp: int, body: bytes) -> str:
    """
    Sign a request with all secrets: receivers need only one of them.

    :param id: of the result.
    :param timestamp: when the request is sent, seconds since the Unix epoch.
    """
    signed = b"%b.%d.%b" % (id.encode(), timestamp, body)
    return " ".join(
        "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()
        for secret in secrets
    )


@attrs.frozen
class Signed:
    """One request: its headers and its body."""

    headers: dict[bytes, list[bytes]]
    body: bytes


def signed_request(
    secrets: tuple[bytes, ...], result: Result | TurnNotice, now: float
) -> Signed:
    """
    Write the request that sends a result, or a notice.

    :param now: seconds since the Unix epoch.
    """
    body, timestamp = encode_result(result), int(now)
    id = result.result_id
    return Signed(
        {
            b"Content-Type": [b"application/json"],
            b"Webhook-Id": [id.encode()],
            b"Webhook-Timestamp": [b"%d" % timestamp],
            b"Webhook-Signature": [sign(secrets, id, timestamp, body).encode()],
        },
        body,
    )


def verdict(status: int) -> Literal["sent", "later", "dead"]:
    """Say what an answer means for a result."""
    if 200 <= status < 300:
        return "sent"
    if 400 <= status < 500 and status not in _PASSING:
        return "dead"
    return "later"


def delay(
    tries: int, chance: Callable[[], float], longest: float = LONGEST_DELAY
) -> float:
    """
    Choose how long to wait after a try that failed, seconds.

    It doubles with each try, and is cut by chance by up to a half, so that many results
    do not come back at the same moment.

    :param tries: how many have failed.
    :param chance: gives a number from 0 to 1.
    :param longest: at most this long.
    """
    whole: float = min(longest, _FIRST_DELAY * 2 ** min(tries - 1, 30))
    return whole * (0.5 + 0.5 * chance())
