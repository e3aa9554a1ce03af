"""The page where people play: files of ``vinom/web/static``, with strict headers."""

from __future__ import annotations

import gzip
from hashlib import sha256
from pathlib import Path
from typing import Any

import attrs
from twisted.web.http import CACHED
from twisted.web.resource import Resource
from twisted.web.server import Request

from vinom.web.answers import Missing, Page

STATIC = Path(__file__).resolve().parent / "static"

# Other files are not served: the folder may contain more than the page needs.
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

#: Load everything from this node, and let no other page frame it.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    # The address of an invitation is secret.
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    # Cached, but revalidated each time: a new version is visible at once.
    "cache-control": "no-cache",
    "vary": "accept-encoding",
}


@attrs.frozen
class _File:
    """
    One file, ready to be sent.

    :ivar kind: media type.
    :ivar plain: its bytes.
    :ivar packed: the same, compressed by gzip.
    :ivar tag: a hash of its bytes.
    """

    kind: str
    plain: bytes
    packed: bytes
    tag: bytes


def _read(path: Path) -> _File:
    plain = path.read_bytes()
    tag = sha256(plain).hexdigest()[:24].encode()
    return _File(_TYPES[path.suffix], plain, gzip.compress(plain, mtime=0), tag)


class StaticPages(Resource):
    """
    A folder's files of known types, read once; other pages can be added.

    No file name is ever built from a request.
    """

    def __init__(self, folder: Path = STATIC) -> None:
        """
        :param folder: of the files.
        """
        super().__init__()
        self._files = {
            path.relative_to(folder).as_posix().encode(): _read(path)
            for path in folder.rglob("*")
            if path.suffix in _TYPES
        }
        self._files[b""] = self._files[b"index.html"]

    def getChild(self, path: bytes, request: Any) -> Resource:
        found = self._files.get(b"/".join((path, *request.postpath)))
        if found is None:
            return Missing()
        request.postpath = []
        return _Served(found)


class _Served(Page):
    """Send one file, or 304 if the browser has it."""

    def __init__(self, file: _File) -> None:
        """:param file: the file."""
        super().__init__()
        self._file = file

    def render_GET(self, request: Request) -> bytes:
        file = self._file
        for name, value in _HEADERS.items():
            request.setHeader(name, value)
        request.setHeader("content-type", file.kind)
        body, tag = file.plain, file.tag
        accepted = request.getHeader(b"accept-encoding") or b""
        if b"gzip" in accepted:
            request.setHeader("content-encoding", "gzip")
            body, tag = file.packed, tag + b"-gzip"
        if request.setETag(b'"%b"' % tag) is CACHED:
            return b""
        request.setHeader("content-length", str(len(body)))
        return b"" if request.method == b"HEAD" else body

    render_HEAD = render_GET
