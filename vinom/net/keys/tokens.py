"""The keys that sign connect tokens: one signs, several are accepted."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import attrs
from cryptography.hazmat.primitives.asymmetric import ed25519

from vinom.base.tokens import Claims, TokenSigner
from vinom.errors import Misconfigured
from vinom.net.keys.files import (
    KeyReport,
    key_id,
    private_pem,
    public_pem,
    read_private,
    write_secret,
    writing,
)

#: How much clocks may differ, seconds: what verifiers allow on top of an expiry.
CLOCK_SKEW = 30.0


@attrs.define(eq=False)
class _TokenKey:
    key_id: str
    path: Path
    public: bytes
    signer: TokenSigner
    since: float


class TokenKeyring:
    """
    Keep the token keys of one state directory.

    Each is a file ``<number>-<key id>.pem``; the highest number signs. The file's time
    of change is when that key began to sign, and the key before it stopped.

    :ivar sign: makes a connect token with the active key.
    """

    def __init__(self, folder: Path, keys: list[_TokenKey]) -> None:
        """
        :param folder: where they are.
        :param keys: the accepted keys, in the order in which they sign.
        """
        self._folder = folder
        # In the order in which they sign.
        self._keys = keys
        self._use(keys[-1])

    @classmethod
    def open(cls, folder: Path, now: float) -> TokenKeyring:
        """
        Read every key in *folder*; make the first.

        :raises Misconfigured: a file there is not an Ed25519 key.
        """
        paths = sorted(folder.glob("*.pem"))
        if not paths:
            paths = [_make(folder, 1, now)]
        by_id = {key.key_id: key for key in map(_read, paths)}
        return cls(folder, list(by_id.values()))

    @property
    def signer(self) -> TokenSigner:
        """The active key."""
        return self._active.signer

    def public(self) -> dict[str, bytes]:
        """Public keys of all accepted keys by id, PEM."""
        return {key.key_id: key.public for key in self._keys}

    def prepare(self, now: float) -> str:
        """
        Make the next key. It is accepted from now on; `activate` lets it sign.

        :returns: its id.
        :raises Misconfigured: it cannot be written.
        """
        number = int(self._keys[-1].path.name.partition("-")[0]) + 1
        made = _read(_make(self._folder, number, now))
        self._keys.append(made)
        return made.key_id

    def activate(self, name: str, now: float) -> None:
        """Sign with this key from now on."""
        for key in self._keys:
            if key.key_id == name:
                key.since = now
                with writing(key.path):
                    os.utime(key.path, (now, now))
                self._use(key)

    def drop(self, now: float, life: float) -> list[str]:
        """
        Delete keys whose last tokens have expired.

        :param life: how long tokens are valid, seconds; `CLOCK_SKEW` is added.
        :returns: their ids.
        """
        dropped = []
        for key, expires_at in self._former(life):
            if now >= expires_at:
                key.path.unlink(missing_ok=True)
                self._keys.remove(key)
                dropped.append(key.key_id)
        return dropped

    def known(self, life: float) -> list[KeyReport]:
        """List them, oldest first; *life* as in `drop`."""
        ends = {key.key_id: end for key, end in self._former(life)}
        return [
            KeyReport(
                key.key_id, "token", self._state(key), key.since, ends.get(key.key_id)
            )
            for key in self._keys
        ]

    def _use(self, key: _TokenKey) -> None:
        self._active = key
        self.sign: Callable[[Claims], str] = key.signer.sign

    def _state(self, key: _TokenKey) -> str:
        if key is self._active:
            return "active"
        is_former = self._keys.index(key) < self._keys.index(self._active)
        return "accepted" if is_former else "next"

    def _former(self, life: float) -> list[tuple[_TokenKey, float]]:
        """List the keys that no longer sign, each with its expiry."""
        before = self._keys[: self._keys.index(self._active) + 1]
        return [
            (key, successor.since + life + CLOCK_SKEW)
            for key, successor in pairwise(before)
        ]


def _make(folder: Path, number: int, now: float) -> Path:
    key = ed25519.Ed25519PrivateKey.generate()
    path = folder / f"{number:04}-{key_id(key)}.pem"
    write_secret(path, private_pem(key))
    with writing(path):
        os.utime(path, (now, now))
    return path


def _read(path: Path) -> _TokenKey:
    found = read_private(path)
    if not isinstance(found, ed25519.Ed25519PrivateKey):
        raise Misconfigured(f"{path} is not an Ed25519 private key")
    name = key_id(found)
    signer = TokenSigner(name, private_pem(found))
    return _TokenKey(name, path, public_pem(found), signer, path.stat().st_mtime)
