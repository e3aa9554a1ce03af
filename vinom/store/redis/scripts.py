"""The Lua scripts: each is one step of a port."""

from __future__ import annotations

from functools import cache
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


@cache
def load(port: str, *without_lease: str) -> dict[str, Script]:
    """
    Read the steps of a port; each begins with what all have, and all of its port.

    :param port: folder of ``scripts``.
    :param without_lease: steps that a node may take whose lease is over.
    """
    folder = files(__package__) / "scripts"
    texts = {
        path.name.removesuffix(".lua"): path.read_text("utf-8")
        for path in (folder / port).iterdir()
    }
    shared = [(folder / "common.lua").read_text("utf-8")]
    shared += [texts.pop("shared")] if "shared" in texts else []
    lease = (folder / "lease.lua").read_text("utf-8")
    for step in texts.keys() - set(without_lease):
        texts[step] = lease + texts[step]
    return {step: _script("\n".join([*shared, text])) for step, text in texts.items()}


def _script(text: str) -> Script:
    # Redis' own name for a script, no protection.
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())
