"""The page where people play: files of ``vinom/web/static``, with careful headers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.python.filepath import InsecurePath
from twisted.web.resource import Resource
from twisted.web.server import Request
from twisted.web.static import File

from vinom.web.answers import Missing

STATIC = Path(__file__).resolve().parent / "static"

# What is not named here is not served: a folder may hold more than the page needs.
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}

#: Everything comes from this node, and nothing may be put around it.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    # An invitation's address is nobody else's business.
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    # Kept, and asked after each time: a new version of the node is seen at once.
    "cache-control": "no-cache",
}


class StaticFolder(File):
    """
    A folder's files, by known types only; no listings.

    Browsers ask with If-Modified-Since, and are answered 304 if all is as it was.
    """

    contentTypes = _TYPES

    def __init__(self, path: str | Path = STATIC) -> None:
        super().__init__(str(path), defaultType="")
        self.indexNames = ["index.html"]

    def getChild(self, path: bytes, request: Any) -> Resource:
        """Find a file; what starts with a dot, or has no known type, is none."""
        if not path and not request.postpath:
            found: Resource = super().getChild(path, request)
            return found
        try:
            name = path.decode()
            child = self.child(name)
        except (UnicodeDecodeError, InsecurePath):
            return Missing()
        if name.startswith(".") or not (
            child.isdir() or (Path(name).suffix in _TYPES and child.isfile())
        ):
            return Missing()
        folder: File = self.createSimilarFile(child.path)
        return folder

    def createSimilarFile(self, path: str) -> StaticFolder:
        return StaticFolder(path)

    def directoryListing(self) -> Resource:
        return Missing()

    def render_GET(self, request: Request) -> bytes | int:
        for name, value in _HEADERS.items():
            request.setHeader(name, value)
        self.restat(False)
        if self.isdir():
            return Missing().render(request)
        found: bytes | int = super().render_GET(request)
        return found

    render_HEAD = render_GET
