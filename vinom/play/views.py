"""
What a room shows: each view of a state encoded once, however many look.

What members were shown lately, to make patches from.

Nothing is kept until somebody says which state it has.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import attrs
import msgspec
from msgspec import json

from vinom.game import Game
from vinom.play.guard import ask_plainly

#: Views that one room keeps, and their bytes together.
MOST_VIEWS = 256
MOST_BYTES = 256 * 1024
#: Below this length a patch saves nothing worth the time, bytes.
WORTHWHILE = 128


@attrs.define(eq=False)
class Patches:
    """
    The latest views of one room, by audience and version, and patches between them.

    :ivar diff: makes a patch of two decoded views; raises `ValueError` for none.
    """

    diff: Callable[[Any, Any], Any]
    _views: OrderedDict[tuple[Hashable, int], bytes] = attrs.field(
        factory=OrderedDict, init=False
    )
    _bytes: int = attrs.field(default=0, init=False)
    _made: dict[tuple[Hashable, int], bytes | None] = attrs.field(
        factory=dict, init=False
    )
    _made_for: int = attrs.field(default=0, init=False)

    def keep(self, audience: Hashable, version: int, view: bytes) -> None:
        """An audience is shown this, JSON."""
        key = audience, version
        if key in self._views or len(view) < WORTHWHILE:
            return
        self._views[key] = view
        self._bytes += len(view)
        while len(self._views) > MOST_VIEWS or self._bytes > MOST_BYTES:
            _, oldest = self._views.popitem(last=False)
            self._bytes -= len(oldest)

    def patch(
        self, audience: Hashable, base: int, version: int, view: bytes
    ) -> bytes | None:
        """
        Make the patch from version *base* to *view*, once for all who have that.

        :returns: ``None`` if there is none that is shorter than the view.
        """
        if version != self._made_for:
            self._made.clear()
            self._made_for = version
        key = audience, base
        if key not in self._made:
            self._made[key] = self._patch_from(self._views.get(key), view)
        return self._made[key]

    def _patch_from(self, base: bytes | None, view: bytes) -> bytes | None:
        if base is None or len(view) < WORTHWHILE:
            return None
        try:
            patch = json.encode(self.diff(json.decode(base), json.decode(view)))
        except (ValueError, RecursionError):
            return None
        return patch if len(patch) < len(view) else None


#: Everybody's view, in a game that does not tell its players apart.
EVERYBODY = "all"
#: Sets and dicts in a fixed order: equal views are equal bytes, in any process.
_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_encode_json = msgspec.json.Encoder().encode


@attrs.define(eq=False, init=False)
class Views:
    """
    The MessagePack and the JSON that go out, kept until the state changes.

    Errors of the game pass through; what failed once then stays empty.

    :ivar has_one_audience: does everybody see the same?
    """

    has_one_audience: bool
    _game: Game[Any, Any]
    _ask: Callable[..., Any]
    _version: int
    _shown: dict[Hashable, bytes]
    _setup: bytes | None
    _json_version: int
    _json: dict[Hashable, bytes]
    _setup_json: bytes | None

    def __init__(
        self, game: Game[Any, Any], ask: Callable[..., Any] = ask_plainly
    ) -> None:
        """
        Show nothing yet.

        :param ask: calls the game: see `vinom.play.play.Play.ask`.
        """
        self._game, self._ask = game, ask
        self.has_one_audience = type(game).audience is Game.audience
        self._version, self._shown = 0, {}
        self._setup = None
        self._json_version, self._json = 0, {}
        self._setup_json = None

    def audience_of(self, state: Any, seat: int | None) -> Hashable:
        """Tell which view a seat sees; a spectator is ``None``."""
        if self.has_one_audience:
            return EVERYBODY
        audience: Hashable = self._ask("audience", self._name, state, seat)
        return audience

    def _name(self, state: Any, seat: int | None) -> Hashable:
        audience = self._game.audience(state, seat)
        # Views are kept by audience, here and by callers.
        hash(audience)
        return audience

    def show(self, state: Any, version: int, audience: Hashable) -> bytes:
        """Show one version's state to an audience."""
        if version != self._version:
            self._version, self._shown = version, {}
        encoded = self._shown.get(audience)
        if encoded is None:
            # Kept before the call: after a failure nobody asks again.
            self._shown[audience] = b""
            encoded = self._ask("view", self._encoded, state, audience)
            self._shown[audience] = encoded
        return encoded

    def _encoded(self, state: Any, audience: Hashable) -> bytes:
        return _encode(self._game.view(state, audience))

    def show_json(self, state: Any, version: int, audience: Hashable) -> bytes:
        """Show one version's state to an audience, as JSON."""
        if version != self._json_version:
            self._json_version, self._json = version, {}
        encoded = self._json.get(audience)
        if encoded is None:
            self._json[audience] = b""
            encoded = self._ask("view", self._encoded_json, state, audience)
            self._json[audience] = encoded
        return encoded

    def _encoded_json(self, state: Any, audience: Hashable) -> bytes:
        return _encode_json(self._game.view(state, audience))

    def setup_json(self, state: Any) -> bytes:
        """Show what never changes, as JSON; empty if there is nothing."""
        if self._setup_json is None:
            self._setup_json = b""
            shown = self._ask("setup", self._game.setup, state)
            if shown is not None:
                self._setup_json = _encode_json(shown)
        return self._setup_json

    def setup(self, state: Any) -> bytes:
        """Show what never changes; empty if there is nothing."""
        if self._setup is None:
            self._setup = b""
            shown = self._ask("setup", self._game.setup, state)
            if shown is not None:
                self._setup = _encode(shown)
        return self._setup


class NoViews(Views):
    """Shows nothing: of a game that took too long at it, and is not asked again."""

    def audience_of(self, state: Any, seat: int | None) -> Hashable:
        """Nobody sees anything."""
        return None

    def show(self, state: Any, version: int, audience: Hashable) -> bytes:
        """Show nothing."""
        return b""

    def setup(self, state: Any) -> bytes:
        """Show nothing."""
        return b""

    def show_json(self, state: Any, version: int, audience: Hashable) -> bytes:
        """Show nothing."""
        return b""

    def setup_json(self, state: Any) -> bytes:
        """Show nothing."""
        return b""
