"""Files of SQLite: opened for our user alone, and put aside if they are damaged."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from vinom.errors import Misconfigured


def open_file(path: Path | None, schema: str) -> sqlite3.Connection:
    """
    Open a file, or make it; what it has is secret.

    :param path: of the file; ``None`` for a database in memory.
    :param schema: statements that are executed at each opening.
    :raises sqlite3.Error: it cannot be used; likewise `OSError`.
    """
    if path is not None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    name = ":memory:" if path is None else str(path)
    database = sqlite3.connect(name, timeout=0.1, isolation_level=None)
    try:
        database.executescript(schema)
    except BaseException:
        # The next call tries again.
        database.close()
        raise
    return database


def check_file(path: Path, schema: str, what: str, now: float) -> str:
    """
    Check that a file can be used; one that is damaged is put aside.

    :param what: it has, for operators.
    :param now: seconds since the Unix epoch.
    :returns: what an operator must know about it; empty if all is well.
    :raises Misconfigured: it cannot be read.
    """
    if not path.exists():
        return ""
    why = "it is damaged"
    try:
        with closing(open_file(path, schema)) as database:
            if database.execute("PRAGMA quick_check").fetchone() == ("ok",):
                return ""
    except (sqlite3.OperationalError, OSError) as error:
        raise Misconfigured(
            f"{what} in {path} cannot be read: {error}; make the file readable "
            "and writable for the node, or move it away"
        ) from error
    except sqlite3.DatabaseError as error:
        why = str(error)
    aside = path.with_suffix(f".damaged-{int(now)}")
    path.rename(aside)
    for companion in ("-wal", "-shm"):
        path.with_name(path.name + companion).unlink(missing_ok=True)
    return f"{path} was moved to {aside.name}, and a new file begins: {why}"
