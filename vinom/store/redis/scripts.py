"""The Lua scripts: each is one step of a port."""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files

import attrs


@attrs.frozen
class Script:
    """
    One step.

    :ivar text: in Lua.
    :ivar digest: by which Redis knows a script that it has run before.
    """

    text: str = attrs.field(repr=False)
    digest: str


def load(port: str, step: str) -> Script:
    """
    Read a step, with what all scripts and those of its port begin with.

    :param port: folder of ``scripts``.
    :param step: file in it, without ``.lua``.
    """
    folder = files(__package__) / "scripts"
    parts = [folder / "common.lua", folder / port / "shared.lua"]
    texts = [part.read_text("utf-8") for part in parts if part.is_file()]
    text = "\n".join([*texts, (folder / port / f"{step}.lua").read_text("utf-8")])
    # Redis' own name for a script, no protection.
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())
