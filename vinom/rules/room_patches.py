"""
What members were shown lately, to make patches from.

Nothing is kept until somebody says which state it has.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import attrs
from msgspec import json

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
