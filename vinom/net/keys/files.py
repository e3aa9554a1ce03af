"""Key files: read with clear errors; written atomically, for this user only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
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

from vinom.base.settings.values import StoreAddress
from vinom.errors import Misconfigured

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


@attrs.frozen
class KeyReport:
    """
    A key or certificate as operators see it. Times: Unix seconds.

    :ivar key_id: identifies it among all keys.
    :ivar kind: "token", "ca", "lobby" or "cookie".
    :ivar state: "active" if it signs, "accepted" if it still verifies, "next" if it
        will sign as soon as all game servers accept it.
    :ivar since: when it entered this state, or was made.
    :ivar expires_at: when it stops being valid; ``None`` if only a rotation ends it.
    """

    key_id: str
    kind: str
    state: str
    since: float
    expires_at: float | None


def load_or_make(path: Path) -> ec.EllipticCurvePrivateKey:
    """
    Read a P-256 key; make it if the file is missing.

    :raises Misconfigured: the file does not contain such a key.
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
    :raises Misconfigured: the file does not contain an elliptic curve key in PEM.
    """
    key = read_private(path, setting)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Misconfigured(
            f"{_named(path, setting)} is not an elliptic curve private key; make one "
            "with openssl ecparam -name prime256v1 -genkey -noout"
        )
    return key


def read_certificates(path: Path, setting: str | None = None) -> list[x509.Certificate]:
    """
    Read the certificates of a file, in their order.

    :param setting: as in `read_file`.
    :raises Misconfigured: the file contains none.
    """
    try:
        return x509.load_pem_x509_certificates(read_file(path, setting))
    except ValueError as error:
        raise Misconfigured(
            f"{_named(path, setting)} has no certificate in PEM"
        ) from error


def read_file(path: Path, setting: str | None = None) -> bytes:
    """
    Read a file whole.

    :param setting: the setting that names the file; ``None`` for the node's own.
    :raises Misconfigured: it cannot be read; the message says why, and what to change.
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
    """Format a path with the setting it comes from."""
    return str(path) if setting is None else f"{path} ({setting})"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """
    Say what cannot be written.

    :raises Misconfigured: an `OSError` came.
    """
    try:
        yield
    except OSError as error:
        raise Misconfigured(f"cannot write {path}: {error.strerror}") from error


def write_secret(path: Path, content: bytes) -> None:
    """
    Write a file that only this user can read, atomically.

    :raises Misconfigured: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        draft.replace(path)


def private_pem(key: PrivateKey) -> bytes:
    """Write a private key as PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: PrivateKey) -> bytes:
    """Write a private key's public half as PEM."""
    return key.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )


def key_id(key: PrivateKey | PublicKey) -> str:
    """
    Derive a key's id from the key, so that no two keys share one.

    :returns: 16 hexadecimal digits, from the public half.
    """
    public = key.public_key() if isinstance(key, PrivateKey) else key
    raw = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(raw).hexdigest()[:16]


def read_private(path: Path, setting: str | None = None) -> object:
    """
    Read a private key of any kind.

    :param setting: as in `read_file`.
    :raises Misconfigured: the file has no private key, or it is encrypted.
    """
    try:
        return load_pem_private_key(read_file(path, setting), password=None)
    except TypeError as error:
        raise Misconfigured(
            f"{_named(path, setting)} is encrypted: store the key without a password"
        ) from error
    except ValueError as error:
        raise Misconfigured(
            f"{_named(path, setting)} is not a private key in PEM"
        ) from error


def store_login(
    address: StoreAddress, password_file: Path | None, authority_file: Path | None
) -> tuple[StoreAddress, bytes | None]:
    """
    Read what a Redis is reached with: its address with the password, and the authority.

    :param address: the value of ``store``.
    :param password_file: that of ``store_password_file``.
    :param authority_file: that of ``store_ca``.
    :raises Misconfigured: a file cannot be read.
    """
    if password_file is not None:
        password = read_file(password_file, "store_password_file")
        text = password.decode("utf-8", "replace").strip()
        address = attrs.evolve(address, password=text)
    if authority_file is None:
        return address, None
    return address, read_file(authority_file, "store_ca")
