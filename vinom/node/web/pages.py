"""
The page where people play, an author's own site, and the files of games' boards; what
pages ask for: ``/games.json``, and invitations as QR codes for a phone beside the
screen that shows one.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import attrs
import segno
from msgspec import json
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.web.http import CACHED
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from vinom.base.limits.buckets import TokenBucket
from vinom.errors import Code, Misconfigured, Refused
from vinom.game import Game
from vinom.net.web.answers import Page, answer, missing, refuse
from vinom.play.contract import contract_of, document
from vinom.play.presentation import MEDIA_TYPES, Presentation, address_of, present

STATIC = Path(__file__).resolve().parent / "static"

#: Most bytes of all files together: they are kept in memory.
SITE_LIMIT = 256 * 1024 * 1024


def _policy(others: Collection[str]) -> str:
    """
    Load everything from this node, and let no other page frame it.

    :param others: URLs of other nodes, or their schemes, to which the page connects.
    """
    connect = ("'self'", *sorted(others))
    parts = (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        "media-src 'self'",
        "manifest-src 'self'",
        f"connect-src {' '.join(connect)}",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return "; ".join(parts)


_HEADERS = {
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
#: Bytes of a body that are written at once.
_PIECE = 32 * 1024
#: Types that gzip makes smaller.
_PACKED = ("text/", "image/svg", "application/")
#: What that policy forbids in a page: scripts and styles between its tags.
_INLINE = re.compile(
    r"<script(?![^>]*\ssrc=)[^>]*>\s*\S|<style|<[^>]*\s(?:style|on[a-z]+)\s*=",
    re.IGNORECASE,
)

_log = Logger()


@attrs.frozen
class _File:
    """
    One file, ready to be sent.

    :ivar kind: media type.
    :ivar plain: its bytes.
    :ivar packed: the same, compressed by gzip; ``None`` if that would not help.
    :ivar tag: a hash of its bytes.
    :ivar stamp: when it changed, and its size.
    """

    kind: str
    plain: bytes
    packed: bytes | None
    tag: bytes
    stamp: tuple[int, int]


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _read(path: Path) -> _File:
    stamp, plain = _stamp(path), path.read_bytes()
    tag = sha256(plain).hexdigest()[:24].encode()
    kind = MEDIA_TYPES[path.suffix]
    packed = gzip.compress(plain, mtime=0) if kind.startswith(_PACKED) else None
    return _File(kind, plain, packed, tag, stamp)


def folder_files(folder: Path, suffixes: tuple[str, ...]) -> Mapping[str, Path]:
    """
    Find the files of a folder that may be served, by path relative to it.

    Hidden files and links that lead out of the folder are left out.

    :param suffixes: of the files to serve.
    """
    top = folder.resolve()
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if (
            path.suffix in suffixes
            and not any(part.startswith(".") for part in name.parts)
            and path.is_file()
            and path.resolve().is_relative_to(top)
        ):
            found[name.as_posix()] = path
    return found


def check_site(folder: Path) -> None:
    """
    Check a site of an author's, and warn of what browsers will refuse in it.

    :param folder: the setting ``page``.
    :raises Misconfigured: it can't be served.
    """
    if not folder.is_dir():
        raise Misconfigured(f"page {str(folder)!r} must be an existing directory")
    files = folder_files(folder, tuple(MEDIA_TYPES))
    if "index.html" not in files:
        raise Misconfigured(f"page {str(folder)!r} must contain an index.html")
    size = sum(path.stat().st_size for path in files.values())
    if size > SITE_LIMIT:
        raise Misconfigured(
            f"page {str(folder)!r} has {size} bytes, the limit is {SITE_LIMIT}: the "
            "server keeps all files in memory; serve large ones elsewhere"
        )
    for name, path in files.items():
        if path.suffix != ".html":
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found = _INLINE.search(text)
        if found:
            _log.warn(
                "{name}, line {line}: browsers will ignore {what!r}, because the "
                "Content-Security-Policy allows no inline scripts and styles; move "
                "them to .js and .css files",
                name=name,
                line=text.count("\n", 0, found.start()) + 1,
                what=" ".join(found.group().split()),
            )


class StaticPages(Resource):
    """
    Files of known types, read once; other pages can be added.

    An author's files hide Vinom's own with the same path. No file name is ever built
    from a request.
    """

    def __init__(
        self,
        folder: Path = STATIC,
        *,
        site: Path | None = None,
        games: Mapping[str, Game[Any, Any]] | None = None,
        is_live: bool = False,
        others: Collection[str] = (),
    ) -> None:
        """
        :param folder: of Vinom's own page.
        :param site: an author's site, shown instead of that.
        :param games: by name; each one's files are below ``games/NAME/``.
        :param is_live: read files again when they change, for ``vinom dev``.
        :param others: URLs of other nodes, or their schemes, that the page uses.
        :raises Misconfigured: the site can't be served.
        """
        super().__init__()
        if site is not None:
            check_site(site)

        def paths() -> Iterator[tuple[str, Path]]:
            yield from folder_files(folder, (".html", ".css", ".js", ".svg")).items()
            if site is not None:
                yield from folder_files(site, tuple(MEDIA_TYPES)).items()
            for name, game in (games or {}).items():
                for file, path in present(game).files.items():
                    yield f"games/{name}/{file}", path

        self._policy = _policy(others)
        self._shelf = _Shelf(lambda: _with_indexes(dict(paths())), is_live)

    def getChild(self, path: bytes, request: Any) -> Resource:
        found = self._shelf.find(b"/".join((path, *request.postpath)))
        if found is None:
            # People get a page with a way back, programs get JSON.
            lost = self._shelf.find(b"missing.html")
            accepted = request.getHeader(b"accept") or b""
            if lost is None or b"text/html" not in accepted:
                return missing()
            request.postpath = []
            return _Served(lost, self._policy, 404)
        request.postpath = []
        return _Served(found, self._policy)


def _with_indexes(files: Mapping[str, Path]) -> dict[bytes, Path]:
    """Serve ``index.html`` under the name of its folder too."""
    found = {}
    for name, path in files.items():
        found[name.encode()] = path
        if path.name == "index.html":
            found[name.removesuffix("index.html").encode()] = path
    return found


class _Shelf:
    """Files by the path of their address."""

    def __init__(self, scan: Callable[[], dict[bytes, Path]], is_live: bool) -> None:
        """
        :param scan: finds them.
        :param is_live: notice changes.
        """
        self._scan, self._is_live = scan, is_live
        self._paths = scan()
        self._held = {path: _read(path) for path in self._paths.values()}

    def find(self, name: bytes) -> _File | None:
        """Find the file of an address."""
        path = self._paths.get(name)
        if self._is_live:
            if path is None:
                # It may be new.
                self._paths = self._scan()
                path = self._paths.get(name)
            if path is not None:
                return self._fresh(path)
        return None if path is None else self._held[path]

    def _fresh(self, path: Path) -> _File | None:
        try:
            held = self._held.get(path)
            if held is None or held.stamp != _stamp(path):
                held = self._held[path] = _read(path)
        except OSError:
            # Editors delete and rename files.
            return None
        return held


class _Served(Page):
    """Send one file, or 304 if the browser has it."""

    def __init__(self, file: _File, policy: str, status: int = 200) -> None:
        """
        :param file: the file.
        :param policy: what the page may load.
        :param status: of the answer.
        """
        super().__init__()
        self._file, self._policy, self._status = file, policy, status

    def render_GET(self, request: Request) -> bytes | int:
        file = self._file
        request.setHeader("content-security-policy", self._policy)
        for name, value in _HEADERS.items():
            request.setHeader(name, value)
        request.setHeader("content-type", file.kind)
        body, tag = file.plain, file.tag
        accepted = request.getHeader(b"accept-encoding") or b""
        if file.packed is not None and b"gzip" in accepted:
            request.setHeader("content-encoding", "gzip")
            body, tag = file.packed, tag + b"-gzip"
        if self._status != 200:
            request.setResponseCode(self._status)
        elif request.setETag(b'"%b"' % tag) is CACHED:
            return b""
        request.setHeader("content-length", str(len(body)))
        if request.method == b"HEAD":
            return b""
        if len(body) <= _PIECE:
            return body
        _Sending(request, body).resumeProducing()
        return NOT_DONE_YET

    render_HEAD = render_GET


@implementer(IPushProducer)
class _Sending:
    """Send a long body as the client takes it: it is not copied before."""

    def __init__(self, request: Any, body: bytes) -> None:
        """
        :param request: gets the body.
        :param body: whole.
        """
        self._request, self._left = request, memoryview(body)
        self._is_paused = False
        request.registerProducer(self, True)

    def resumeProducing(self) -> None:
        """The client takes more."""
        self._is_paused = False
        while self._left and not self._is_paused:
            piece, self._left = self._left[:_PIECE], self._left[_PIECE:]
            self._request.write(bytes(piece))
        if not self._left:
            self._request.unregisterProducer()
            self._request.finish()

    def pauseProducing(self) -> None:
        """The client takes no more for now."""
        self._is_paused = True

    def stopProducing(self) -> None:
        """The client is gone."""
        self._is_paused = True


class GameCatalogue(Page):
    """Describe every game: seats, and what actions and options look like."""

    def __init__(
        self,
        games: Mapping[str, Game[Any, Any]],
        edited: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        """
        :param games: by name.
        :param edited: describes for the page the game that is being written; others
            do not change.
        """
        super().__init__()
        self._games, self._edited = games, edited
        self._found = self._describe()

    def _describe(self) -> dict[str, Any]:
        return {
            name: described(game) | shown(name, present(game))
            for name, game in sorted(self._games.items(), key=_place)
        }

    def render_GET(self, request: Request) -> bytes:
        found: dict[str, Any] = {"games": self._found}
        if self._edited is not None:
            with suppress(Misconfigured):
                # A file of it may be written just now.
                found["games"] = self._found = self._describe()
            found["dev"] = self._edited()
        body = answer(request, found)
        if not body or b"gzip" not in (request.getHeader(b"accept-encoding") or b""):
            return body
        # Schemas of many games: a sixth of their length.
        body = _compressed(body)
        request.setHeader(b"content-encoding", b"gzip")
        request.setHeader(b"vary", b"accept-encoding")
        request.setHeader(b"content-length", b"%d" % len(body))
        return body


@lru_cache(4)
def _compressed(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


def described(game: Game[Any, Any]) -> dict[str, Any]:
    """Describe one game: JSON-like; schemas are JSON Schema 2020-12."""
    actions = get_args(game.actions) or (game.actions,)
    return {
        "seats": list(game.seats),
        "late_join": game.late_join,
        "teams": game.teams,
        "tick_hz": game.tick_hz,
        "has_bot": type(game).bot is not Game.bot,
        "levels": list(game.levels),
        "actions": [_schema(action) for action in actions],
        "options": _schema(game.options),
        "loadout": _schema(game.loadout),
        "contract": document(contract_of(game)),
    }


def shown(name: str, look: Presentation) -> dict[str, Any]:
    """
    Describe how a game looks: JSON-like.

    :param name: of the game in requests; its files are served below it.
    """
    return {
        "title": look.title,
        "about": look.about,
        "rules": look.rules,
        "colours": look.colours,
        "icon": address_of(name, look.icon),
        "board": address_of(name, look.board),
    }


def _place(entry: tuple[str, Game[Any, Any]]) -> tuple[bool, str]:
    """Sort games by title, those of the server's owner before Vinom's own."""
    _, game = entry
    return type(game).__module__.startswith("vinom.games."), present(game).title


def _schema(kind: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.schema(kind)
    except TypeError:
        # A type of the author's without a schema, which can be sent as JSON.
        return {"title": getattr(kind, "__name__", str(kind))}
    return found


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
