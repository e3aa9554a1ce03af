"""Make the HTTP door from the settings."""

from __future__ import annotations

import time

from twisted.internet.interfaces import IReactorTime

from vinom.conversation.identity import OutsideVerifier
from vinom.conversation.provider import ProviderKeys
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
    Make the HTTP door.

    :param backends: begins sessions.
    :param clock: for deadlines.
    :param direct: reads connections without the reactor.
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
    return HttpDoor(backends, clock, bounds, proxies, direct=direct)


def find_users(
    settings: Settings, clock: IReactorTime
) -> tuple[Users, ProviderKeys] | None:
    """
    Make what finds the users of requests, and what reads its keys again.

    :raises Misconfigured: the keys of the identity provider cannot be used.
    """
    file, issuer = settings.identity_keys_file, settings.identity_issuer
    if not (file and issuer and settings.identity_audience):
        return None
    # It is read again later, after twistd has changed its folder.
    path = file.absolute()

    def read() -> bytes:
        # At least a space: an empty file is a mistake.
        return read_file(path, "identity_keys_file") or b" "

    verifier = OutsideVerifier(read(), issuer, settings.identity_audience)
    claim, cookie = settings.identity_user_claim, settings.identity_cookie
    users = Users(verifier, claim, time.time, cookie)
    return users, ProviderKeys(verifier, clock, read=read, place=str(path))
