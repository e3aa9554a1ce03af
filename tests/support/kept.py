"""Clients and manual of an earlier release: see ``tests/fixtures/README.rst``."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
#: Python imports from it as it is.
ARCHIVE = FIXTURES / "275fbdb.zip"


def unpack(into: str, *folders: str) -> Path:
    """Unpack these folders of the kept tree, or all; returns where they are."""
    with ZipFile(ARCHIVE) as archive:
        names = [name for name in archive.namelist() if name.startswith(folders or "")]
        archive.extractall(into, names)
    return Path(into).resolve()
