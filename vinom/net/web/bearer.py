"""Admit requests that carry the operator's token."""

from __future__ import annotations

import hmac
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import Request

from vinom.errors import Code, Misconfigured, Refused
from vinom.net.web.answers import refuse

#: A shorter token could be guessed.
SHORTEST_TOKEN = 16


def checked_token(text: bytes, source: str) -> bytes:
    """
    Read a bearer token from a file's content.

    :param text: the content.
    :param source: names the file in errors.
    :raises Misconfigured: the token is too short or contains blanks.
    """
    token = text.strip()
    if len(token) < SHORTEST_TOKEN or len(token.split()) != 1:
        raise Misconfigured(
            f"{source} must contain one token of at least {SHORTEST_TOKEN} characters, "
            "without blanks"
        )
    return token


class Guarded(Resource):
    """
    Serve *inner* to requests that carry the bearer token (RFC 6750).

    The comparison takes equally long for every wrong token.
    """

    def __init__(self, inner: Resource, token: bytes) -> None:
        """
        :param inner: what to serve.
        :param token: the valid token.
        """
        super().__init__()
        self._inner, self._token = inner, token

    def getChild(self, path: bytes, request: Any) -> Resource:
        given = (request.getHeader(b"authorization") or b"").split()
        if (
            len(given) == 2
            and given[0].lower() == b"bearer"
            and hmac.compare_digest(given[1], self._token)
        ):
            inner: Resource = self._inner.getChildWithDefault(path, request)
            return inner
        return _Refusal()


class _Refusal(Resource):
    """The token is missing or wrong."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        request.setHeader(b"www-authenticate", b"Bearer")
        return refuse(
            request, Refused(Code.UNAUTHORIZED, "the bearer token is missing or wrong")
        )
