"""``python -m benchmarks.fuzz.run TARGET [libFuzzer's arguments]``: one target."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["vinom"]):
    from benchmarks.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until libFuzzer ends."""
    target, _ = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
