"""What strangers made a game server do, counted."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import jwt
from twisted.trial.unittest import SynchronousTestCase

from vinom.base import tokens
from vinom.net.dtls import server as dtls_server

#: ``VINOM_ATTACKS=full`` in the environment: not a sample, all of it.
IS_FULL = os.environ.get("VINOM_ATTACKS") == "full"


class Ledger:
    """
    Count expensive things while one test runs.

    :ivar made: ``channels``: OpenSSL objects for newcomers; ``signatures``:
        tokens whose signature was verified, by PyJWT or, once it has read their
        signer's header, without it.
    """

    def __init__(self, case: SynchronousTestCase) -> None:
        self.made: Counter[str] = Counter()
        channel = dtls_server.DtlsChannel
        decode, verified = jwt.PyJWS.decode, tokens._verified

        def counted_channel(*args: Any, **named: Any) -> Any:
            self.made["channels"] += 1
            return channel(*args, **named)

        def counted_decode(*args: Any, **named: Any) -> Any:
            self.made["signatures"] += 1
            return decode(*args, **named)

        def counted_verified(*args: Any) -> Any:
            self.made["signatures"] += 1
            return verified(*args)

        case.patch(dtls_server, "DtlsChannel", counted_channel)
        case.patch(jwt.PyJWS, "decode", counted_decode)
        case.patch(tokens, "_verified", counted_verified)

    def take(self) -> dict[str, int]:
        """What was made since the last time."""
        made, self.made = dict(self.made), Counter()
        return made
