"""Invitation links as QR codes, for a phone beside the screen that shows one."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from urllib.parse import urlsplit

import segno
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from vinom.base.limits.buckets import TokenBucket
from vinom.errors import Code, Refused
from vinom.net.web.answers import Page, refuse

#: Longest link, bytes: as long as anything that phones still read from a screen.
LINK_LIMIT = 300
#: A code takes some milliseconds: new ones per second, and at once, of the whole node.
_RATE, _BURST = 10.0, 50.0


class InvitationCode(Page):
    """
    ``/invite.svg?link=...``: the QR code of a link to this server, as an SVG image.

    It encodes links to itself alone, or anybody's links would seem to be the server's.
    """

    def __init__(self, clock: IReactorTime) -> None:
        """:param clock: for the limit of new codes."""
        super().__init__()
        self._clock = clock
        self._bucket = TokenBucket(_RATE, _BURST)

    def render_GET(self, request: Request) -> bytes:
        links = (request.args or {}).get(b"link", [])
        host = request.getHeader(b"host") or b""
        try:
            link = links[0].decode("ascii") if len(links) == 1 else ""
            parts = urlsplit(link)
            is_ours = (
                parts.scheme in ("http", "https") and parts.netloc.encode() == host
            )
        except ValueError:
            is_ours = False
        if not is_ours or len(link) > LINK_LIMIT:
            why = (
                f"link must be one address of this server, at most {LINK_LIMIT} "
                "characters of ASCII"
            )
            return refuse(request, Refused(Code.BAD_FIELD, why, {"field": "link"}))
        if not self._bucket.take(self._clock.seconds()):
            why = "too many codes were asked for; try again in a second"
            return refuse(request, Refused(Code.RATE_LIMITED, why))
        request.setHeader(b"content-type", b"image/svg+xml")
        request.setHeader(b"content-security-policy", b"default-src 'none'")
        request.setHeader(b"x-content-type-options", b"nosniff")
        # The link lets whoever has it join: nothing between us may keep it.
        request.setHeader(b"cache-control", b"private, max-age=3600")
        return _drawn(link)


@lru_cache(256)
def _drawn(link: str) -> bytes:
    drawn = BytesIO()
    code = segno.make(link, error="m", micro=False)
    code.save(drawn, kind="svg", border=1, omitsize=True, svgclass=None, lineclass=None)
    return drawn.getvalue()
