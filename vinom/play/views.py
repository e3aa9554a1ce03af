"""
What a room shows: views of the state, and patches between them.

`Views` encodes each audience's view once, however many players see it. `Patches` keeps
the views that were shown lately, to make JSON patches from; a room keeps none until a
client acknowledges a state.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import attrs
import msgspec
from msgspec import json

from vinom.base.packed import Packed, encode_view
from vinom.game import Game, has_one_audience
from vinom.play.guard import ask_plainly
from vinom.play.packing import packing_of

#: Most views that one room keeps, and most bytes of all of them.
MOST_VIEWS = 256
MOST_BYTES = 256 * 1024
#: Views shorter than this are not worth a patch, bytes.
WORTHWHILE = 128


@attrs.define(eq=False)
class Patches:
    """
    The latest views of one room, by audience and version, and patches between them.

    :ivar diff: makes a patch of two decoded views; raises `ValueError` if it cannot.
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
        """Keep the JSON *view* that an audience is shown."""
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
        Make the patch from version *base* to *view*, once per audience.

        :returns: ``None`` if there is no patch, or it is not shorter than the view.
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


#: Who gets an event: a seat, or several, -1 for spectators; ``None`` for everybody.
Recipients = int | tuple[int, ...] | None


def reaches(to: Recipients, seat: int | None) -> bool:
    """Does what is for these recipients reach a seat (``None``: the spectators)?"""
    if isinstance(to, tuple):
        return (-1 if seat is None else seat) in to
    return to is None or to == seat


#: The only audience of a game in which all see the same.
EVERYBODY = "all"
encode_json = msgspec.json.Encoder().encode


class Views:
    """
    A room's views in one encoding, kept until the state changes.

    The game's errors pass through; a view that failed once then stays empty.

    :ivar has_one_audience: whether all seats and spectators see the same.
    :ivar packing: of views with a `vinom.game.Grid`; ``None`` for all others.
    """

    __slots__ = (
        "_ask",
        "_encode",
        "_game",
        "_packed",
        "_setup",
        "_shown",
        "_version",
        "has_one_audience",
        "packing",
    )

    def __init__(
        self,
        game: Game[Any, Any],
        ask: Callable[..., Any] = ask_plainly,
        encode: Callable[[Any], bytes] = encode_view,
    ) -> None:
        """
        Start without views.

        :param game: the rules.
        :param ask: calls the game: see `vinom.play.play.Play.ask`.
        :param encode: writes a view: as MessagePack, or `encode_json`.
        """
        self._game, self._ask, self._encode = game, ask, encode
        self.has_one_audience = has_one_audience(type(game))
        self._version = 0
        self._shown: dict[Hashable, bytes] = {}
        self.packing = packing_of(game.shows)
        self._packed: dict[Hashable, Packed | None] = {}
        self._setup: bytes | None = None

    def audience_of(self, state: Any, seat: int | None) -> Hashable:
        """Return the audience of a seat; ``None`` stands for spectators."""
        if self.has_one_audience:
            return EVERYBODY
        audience: Hashable = self._ask("audience", self._name, state, seat)
        return audience

    def _name(self, state: Any, seat: int | None) -> Hashable:
        audience = self._game.audience(state, seat)
        # Views are kept by audience, here and by callers, so it must be hashable.
        hash(audience)
        return audience

    def show(self, state: Any, version: int, audience: Hashable) -> bytes:
        """Return an audience's view of one version of the state."""
        if version != self._version:
            self._version, self._shown, self._packed = version, {}, {}
        encoded = self._shown.get(audience)
        if encoded is None:
            # Kept before the call: after a failure the game is not called again.
            self._shown[audience] = b""
            if self.packing is None:
                view = self._ask("view", self._game.view, state, audience)
            else:
                # Rounded as in a packed view: all players see the same.
                packed = self.pack(state, version, audience)
                if packed is None:
                    return b""
                view = self.packing.layout.plain(packed)
            self._shown[audience] = encoded = self._encode(view)
        return encoded

    def pack(self, state: Any, version: int, audience: Hashable) -> Packed | None:
        """Return the same as `show`, packed; ``None`` if it cannot be."""
        if version != self._version:
            self._version, self._shown, self._packed = version, {}, {}
        if audience not in self._packed and self.packing is not None:
            self._packed[audience] = None
            view = self._ask("view", self._game.view, state, audience)
            self._packed[audience] = self.packing.pack(view)
        return self._packed.get(audience)

    def setup(self, state: Any) -> bytes:
        """Return the constant part of the view; perhaps empty."""
        if self._setup is None:
            self._setup = b""
            shown = self._ask("setup", self._game.setup, state)
            if shown is not None:
                self._setup = self._encode(shown)
        return self._setup


class NoViews(Views):
    """Empty views, for a game that took too long to make one and isn't asked again."""

    __slots__ = ()

    def audience_of(self, state: Any, seat: int | None) -> Hashable:
        """Return an audience that is shown nothing."""
        return None

    def show(self, state: Any, version: int, audience: Hashable) -> bytes:
        """Return an empty view."""
        return b""

    def pack(self, state: Any, version: int, audience: Hashable) -> Packed | None:
        """Return no view."""
        return None

    def setup(self, state: Any) -> bytes:
        """Return an empty view."""
        return b""
