"""The private authority's files: one signs, those before it are still accepted."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from vinom.errors import Misconfigured
from vinom.services.authority_certificates import (
    authority_name,
    cross_signed,
    moment,
    pem_of,
    self_signed,
)
from vinom.services.keyring import (
    load_or_make,
    private_pem,
    read_certificates,
    read_signing_key,
    write_secret,
)


@attrs.frozen
class Former:
    """
    An authority that signs no more: its key is gone.

    :ivar certificate: its own.
    :ivar cross: its successor's, signed by it; as long as it lasts, the older one
        is accepted.
    """

    certificate: x509.Certificate
    cross: x509.Certificate
    path: Path


@attrs.frozen
class Signing:
    """
    What signs for servers.

    :ivar formers: newest first; each one's cross-certificate is for the one before it.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = attrs.field(repr=False)
    formers: tuple[Former, ...] = ()


class AuthorityFiles:
    """
    Read and write ``ca.key``, ``ca.pem`` and ``former/*.pem`` in one folder.

    A rotation that is cut off half-way is finished, or never happened, by the next
    `open`: at every moment there is one key with its certificate.
    """

    def __init__(self, folder: Path) -> None:
        self.certificate_path = folder / "ca.pem"
        self._key_path = folder / "ca.key"
        self._next_certificate_path = folder / "ca-next.pem"
        self._next_key_path = folder / "ca-next.key"
        self._formers = folder / "former"

    def open(self, realm: str, now: float) -> Signing:
        """
        Read what there is; make the first authority.

        :raises Misconfigured: a file cannot be read, written or used; names it.
        """
        key = load_or_make(self._key_path)
        self._settle(key)
        if not self.certificate_path.exists():
            made = self_signed(key, authority_name(realm), moment(now))
            write_secret(self.certificate_path, pem_of(made))
        certificate = read_certificates(self.certificate_path)[0]
        return Signing(certificate, key, self._read_formers(certificate, now))

    def rotate(self, old: Signing, now: float, accepted: datetime.timedelta) -> Signing:
        """
        Put a new authority in place of *old*, whose key is forgotten.

        :param accepted: how long players who trust the old one are served.
        :raises Misconfigured: a file cannot be written.
        """
        at = moment(now)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self_signed(key, old.certificate.subject, at)
        cross = cross_signed(old.certificate, old.key, certificate, at, at + accepted)
        self._make_folder()
        numbers = [_number(path) for path in self._formers.glob("*.pem")]
        path = self._formers / f"{max(numbers, default=0) + 1:04}.pem"
        write_secret(path, pem_of(old.certificate) + pem_of(cross))
        write_secret(self._next_certificate_path, pem_of(certificate))
        write_secret(self._next_key_path, private_pem(key))
        try:
            # The moment of the change: what comes after is done by `_settle` if
            # this process dies.
            self._next_key_path.replace(self._key_path)
        except OSError as error:
            raise Misconfigured(
                f"cannot write {self._key_path}: {error.strerror}"
            ) from error
        self._settle(key)
        return Signing(certificate, key, self._read_formers(certificate, now))

    def drop(self, signing: Signing, now: float) -> Signing:
        """Forget the former authorities whose time is over."""
        return attrs.evolve(
            signing, formers=self._read_formers(signing.certificate, now)
        )

    def _settle(self, key: ec.EllipticCurvePrivateKey) -> None:
        """Finish a rotation that has its key, or forget one that has not."""
        self._next_key_path.unlink(missing_ok=True)
        if not self._next_certificate_path.exists():
            return
        (found,) = read_certificates(self._next_certificate_path)
        if found.public_key() == key.public_key():
            os.replace(self._next_certificate_path, self.certificate_path)
        else:
            self._next_certificate_path.unlink()

    def _read_formers(self, active: x509.Certificate, now: float) -> tuple[Former, ...]:
        """Walk back from the active one; what does not lead to it is no former."""
        formers: list[Former] = []
        successor = active
        for path in sorted(self._formers.glob("*.pem"), key=_number, reverse=True):
            found = read_certificates(path)
            if len(found) != 2:
                raise Misconfigured(f"{path} must hold two certificates")
            certificate, cross = found
            if cross.not_valid_after_utc <= moment(now) or certificate == active:
                # Its time is over, or its rotation never happened.
                path.unlink(missing_ok=True)
            elif cross.public_key() == successor.public_key():
                formers.append(Former(certificate, cross, path))
                successor = certificate
        return tuple(formers)

    def _make_folder(self) -> None:
        try:
            self._formers.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise Misconfigured(
                f"cannot write {self._formers}: {error.strerror}"
            ) from error


def read_configured(certificate_file: Path, key_file: Path) -> Signing:
    """
    Read a studio's own authority.

    :raises Misconfigured: a file cannot be read or used; names it.
    """
    key = read_signing_key(key_file, "authority_key_file")
    found = read_certificates(certificate_file, "authority_certificate_file")
    return Signing(found[0], key)


def _number(path: Path) -> int:
    return int(path.stem) if path.stem.isdecimal() else 0
