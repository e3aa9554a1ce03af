"""Make the door of HTTP by the settings."""

from __future__ import annotations

import time

from twisted.internet.interfaces import IReactorTime

from vinom.conversation.identity import OutsideVerifier
from vinom.gateway.backends import Backends
from vinom.gateway.http_door import HttpBounds, HttpDoor
from vinom.gateway.settings import Settings
from vinom.gateway.users import Users
from vinom.keys.files import read_file
from vinom.lines.forwarded import Proxies
from vinom.reactor.direct import DirectReads


def http_door(
    settings: Settings,
    backends: Backends,
    clock: IReactorTime,
    direct: DirectReads | None = None,
) -> HttpDoor:
    """
    Make it.

    :param backends: begins sessions.
    :param clock: for deadlines.
    :param direct: reads connections without the reactor.
    :raises Misconfigured: the keys of the identity provider cannot be used.
    """
    bounds = HttpBounds(
        head=settings.http_head_bytes,
        body=settings.http_body_bytes,
        head_seconds=settings.http_head_seconds,
        body_seconds=settings.http_body_seconds,
        body_rate=settings.http_body_rate,
        answer_seconds=settings.http_answer_seconds,
        stall_seconds=settings.http_stall_seconds,
        idle_seconds=settings.http_idle_seconds,
        stuck_seconds=settings.stuck_seconds,
        bytes_per_second=settings.bytes_per_second,
    )
    proxies = Proxies(settings.trusted_proxy)
    door = HttpDoor(backends, clock, bounds, proxies, direct=direct)
    keys, issuer = settings.identity_keys_file, settings.identity_issuer
    if keys and issuer and settings.identity_audience:
        verifier = OutsideVerifier(
            read_file(keys, "identity_keys_file") or b" ",
            issuer,
            settings.identity_audience,
        )
        claim, cookie = settings.identity_user_claim, settings.identity_cookie
        door.user_of = Users(verifier, claim, time.time, cookie).of
    return door
