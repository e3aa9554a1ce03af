"""Old paths of modules that the manual showed, importable for one more release."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

#: Old path to new path. Only modules that the manual of the last release imports; the
#: packages above an old path need no entry.
MOVED: dict[str, str] = {
    "vinom.fleet.forkserver": "vinom.fleet.local.forkserver",
    "vinom.net.conditioner": "vinom.dtls.bad_network",
    "vinom.rules.conditions": "vinom.dtls.bad_network",
    "vinom.wire.messages_rooms": "vinom.messages.rooms",
}


class MovedModules(Loader, MetaPathFinder):
    """
    Import a module under its old path, with a `DeprecationWarning`.

    Comes after all other finders, so a module that exists is never looked for here.
    """

    def __init__(self, moved: Mapping[str, str]) -> None:
        """
        :param moved: old path to new path.
        """
        self._moved = moved

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find an old path, or a removed package that contained one."""
        if fullname in self._moved:
            return ModuleSpec(fullname, self)
        if any(old.startswith(f"{fullname}.") for old in self._moved):
            return ModuleSpec(fullname, None, is_package=True)
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of the new path in place of *module*."""
        old = module.__name__
        new = self._moved[old]
        # The line that imports: Python does not count its own import machinery.
        warnings.warn(f"{old} is now {new}", DeprecationWarning, stacklevel=2)
        sys.modules[old] = importlib.import_module(new)


def keep_old_paths(moved: Mapping[str, str] = MOVED) -> None:
    """Make the old paths importable from now on."""
    sys.meta_path.append(MovedModules(moved))
