"""Keys as files: read with clear errors, written whole and for us alone."""

from __future__ import annotations

import os
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
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


@attrs.frozen
class KeyReport:
    """
    What operators see of a key, or of a certificate. Times: Unix seconds.

    :ivar key_id: names it among all keys.
    :ivar kind: "token", "ca", "lobby" or "cookie".
    :ivar state: "active" for what signs, "accepted" for what still verifies, "next"
        for what will sign as soon as everybody accepts it.
    :ivar since: when it came into this state, or was made.
    :ivar expires_at: when it stops being valid; ``None`` if nothing ends it but a
        rotation.
    """

    key_id: str
    kind: str
    state: str
    since: float
    expires_at: float | None


def load_or_make(path: Path) -> ec.EllipticCurvePrivateKey:
    """
    Read a P-256 key; make it if there is no such file.

    :raises Misconfigured: the file is something else.
    """
    if not path.exists():
        write_secret(path, private_pem(ec.generate_private_key(ec.SECP256R1())))
    return read_signing_key(path)


def read_signing_key(
    path: Path, setting: str | None = None
) -> ec.EllipticCurvePrivateKey:
    """
    Read the key of an authority.

    :param setting: as in `read_file`.
    :raises Misconfigured: it is not an elliptic curve key in PEM.
    """
    key = read_private(path, setting)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Misconfigured(
            f"{_named(path, setting)} is not an elliptic curve private key"
        )
    return key


def read_certificates(path: Path, setting: str | None = None) -> list[x509.Certificate]:
    """
    Read certificates, in their order.

    :param setting: as in `read_file`.
    :raises Misconfigured: there is none.
    """
    try:
        return x509.load_pem_x509_certificates(read_file(path, setting))
    except ValueError as error:
        raise Misconfigured(
            f"{_named(path, setting)} holds no certificate in PEM"
        ) from error


def read_file(path: Path, setting: str | None = None) -> bytes:
    """
    Read a file whole.

    :param setting: what names it, for the message; ``None`` for a file of ours.
    :raises Misconfigured: says which, why, and what to change.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        why = error.strerror
        if setting is None:
            message = f"cannot read {path}: {why}; let the node's user read it"
        else:
            message = (
                f"cannot read {path}: {why}; set {setting} to a file that the node's "
                "user can read"
            )
        raise Misconfigured(message) from error


def _named(path: Path, setting: str | None) -> str:
    """Write a file's name with that of the setting it comes from."""
    return str(path) if setting is None else f"{path} ({setting})"


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


def public_pem(key: PrivateKey) -> bytes:
    """Write a private key's public half down."""
    return key.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )


def key_id(key: PrivateKey | PublicKey) -> str:
    """
    Name a key by what it is: nobody can mistake one for another.

    :returns: 16 hexadecimal digits, of the public half alone.
    """
    public = key.public_key() if isinstance(key, PrivateKey) else key
    raw = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(raw).hexdigest()[:16]


def read_private(path: Path, setting: str | None = None) -> object:
    """
    Read a private key of any kind.

    :param setting: as in `read_file`.
    :raises Misconfigured: the file holds no private key that can be read.
    """
    try:
        return load_pem_private_key(read_file(path, setting), password=None)
    except TypeError as error:
        raise Misconfigured(
            f"{_named(path, setting)} is encrypted; write it without a password"
        ) from error
    except ValueError as error:
        raise Misconfigured(
            f"{_named(path, setting)} is no private key in PEM"
        ) from error
