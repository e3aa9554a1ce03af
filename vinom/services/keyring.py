"""Keys as files: read with clear errors, written whole and for us alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from vinom.errors import Misconfigured

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@attrs.frozen
class TokenKeys:
    """
    The keys that sign connect tokens: one signs, all of them are accepted.

    Each is a file ``<number>-<key id>.pem``; the highest number signs.

    :ivar active: id of the one that signs.
    :ivar private: PEM by key id.
    :ivar public: PEM by key id.
    """

    active: str
    private: Mapping[str, bytes] = attrs.field(repr=False)
    public: Mapping[str, bytes]

    @classmethod
    def open(cls, folder: Path) -> TokenKeys:
        """
        Read every key in *folder*; make the first.

        :raises Misconfigured: a file there is no Ed25519 key.
        """
        paths = sorted(folder.glob("*.pem"))
        if not paths:
            key = ed25519.Ed25519PrivateKey.generate()
            path = folder / f"0001-{_key_id(key)}.pem"
            write_secret(path, private_pem(key))
            paths = [path]
        keys: dict[str, ed25519.Ed25519PrivateKey] = {}
        for path in paths:
            found = _read_private(path)
            if not isinstance(found, ed25519.Ed25519PrivateKey):
                raise Misconfigured(f"{path} is not an Ed25519 private key")
            # The id is made of the key: nobody can mistake one for another.
            keys[_key_id(found)] = found
        return cls(
            active=list(keys)[-1],
            private={name: private_pem(key) for name, key in keys.items()},
            public={name: _public_pem(key) for name, key in keys.items()},
        )


def load_or_make(path: Path) -> ec.EllipticCurvePrivateKey:
    """
    Read a P-256 key; make it if there is no such file.

    :raises Misconfigured: the file is something else.
    """
    if not path.exists():
        write_secret(path, private_pem(ec.generate_private_key(ec.SECP256R1())))
    return read_signing_key(path)


def read_signing_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """
    Read the key of an authority.

    :raises Misconfigured: it is not an elliptic curve key in PEM.
    """
    key = _read_private(path)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Misconfigured(f"{path} is not an elliptic curve private key")
    return key


def read_certificates(path: Path) -> list[x509.Certificate]:
    """
    Read certificates, in their order.

    :raises Misconfigured: there is none.
    """
    try:
        return x509.load_pem_x509_certificates(read_file(path))
    except ValueError as error:
        raise Misconfigured(f"{path} holds no certificate in PEM") from error


def read_file(path: Path) -> bytes:
    """
    Read a file that the operator named.

    :raises Misconfigured: says which and why.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from error


def write_secret(path: Path, content: bytes) -> None:
    """
    Write a file for us alone; it is there whole or not at all.

    :raises Misconfigured: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        draft.replace(path)
    except OSError as error:
        raise Misconfigured(f"cannot write {path}: {error.strerror}") from error


def private_pem(key: PrivateKey) -> bytes:
    """Write a private key down."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public_pem(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )


def _key_id(key: PrivateKey) -> str:
    raw = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(raw).hexdigest()[:16]


def _read_private(path: Path) -> object:
    try:
        return load_pem_private_key(read_file(path), password=None)
    except (ValueError, TypeError) as error:
        raise Misconfigured(f"{path} is no private key in PEM") from error
