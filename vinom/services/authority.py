"""
The node's private authority: its certificates and its token signing keys.

Everything lives in the state directory (0700, files 0600) and is made on the
first start. Keys are ECDSA P-256 for certificates and Ed25519 for tokens.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from vinom.errors import Misconfigured
from vinom.services.authority_certificates import (
    DAY,
    alternative_names,
    check_usable,
    leaf,
    made_at,
    moment,
    pem_of,
)
from vinom.services.authority_files import AuthorityFiles, Signing, read_configured
from vinom.services.keyring import (
    KeyTold,
    key_id,
    private_pem,
    read_certificates,
    write_secret,
)
from vinom.services.keyring_tokens import TokenKeyring
from vinom.wire.tokens import TokenSigner

#: Who trusts an authority that was replaced is served for so long, days.
ACCEPTED_DAYS = 30
_LOBBY_LIFE = 397 * DAY
#: A game server lives for its matches: hours, at most.
_SERVER_LIFE = 30 * DAY
#: The lobby's certificate is made anew when less than this is left of it.
_RENEWAL = 30 * DAY
RENEWAL_SECONDS = _RENEWAL.total_seconds()


@attrs.frozen
class Issued:
    """
    A certificate and what proves its possession.

    :ivar certificate: leaf first, then what links it to the anchor, PEM.
    :ivar key: the leaf's private key, PEM.
    """

    certificate: bytes
    key: bytes = attrs.field(repr=False)


class Authority:
    """
    Sign certificates for the lobby and for game servers, and connect tokens.

    Made by `open`. Certificate names of game servers are ``*.<server>.<realm>``:
    the ticket a client shows is one label more (decision 2).

    :ivar tokens: what signs connect tokens.
    """

    def __init__(
        self,
        realm: str,
        read: Callable[[], Signing],
        path: Path,
        files: AuthorityFiles | None,
        tokens: TokenKeyring,
        now: Callable[[], float],
        folder: Path,
    ) -> None:
        self.realm, self.tokens = realm, tokens
        self._read, self._path, self._files = read, path, files
        self._now, self._folder = now, folder
        self._signing = self._checked(read())

    @classmethod
    def open(
        cls,
        state_dir: Path,
        realm: str,
        now: Callable[[], float],
        *,
        certificate_file: Path | None = None,
        key_file: Path | None = None,
    ) -> Authority:
        """
        Read the authority that *state_dir* holds; make what is missing.

        :param now: the time, seconds since the Unix epoch.
        :param certificate_file: your own authority's certificate, PEM, in place
            of the private one; needs *key_file*.
        :raises Misconfigured: a file cannot be read, written or used; names it.
        """
        folder = private_folder(private_folder(state_dir) / "authority")
        files = None
        if certificate_file is not None and key_file is not None:
            path, key_path = certificate_file, key_file

            def read() -> Signing:
                return read_configured(path, key_path)

        else:
            files = own = AuthorityFiles(folder)
            path = own.certificate_path

            def read() -> Signing:
                return own.open(realm, now())

        tokens = TokenKeyring.open(private_folder(folder / "tokens"), now())
        return cls(realm, read, path, files, tokens, now, folder)

    def _checked(self, signing: Signing) -> Signing:
        if signing.certificate.public_key() != signing.key.public_key():
            raise Misconfigured(
                f"the authority's key does not belong to its certificate ({self._path})"
            )
        check_usable(signing.certificate, moment(self._now()))
        return signing

    @property
    def anchor(self) -> bytes:
        """What players verify servers with that were given a certificate now, PEM."""
        return pem_of(self._signing.certificate)

    @property
    def signer(self) -> TokenSigner:
        """Signs connect tokens with the active key."""
        return self.tokens.signer

    @property
    def expires_at(self) -> float:
        """When the authority's own certificate ends, seconds since the epoch."""
        return self._signing.certificate.not_valid_after_utc.timestamp()

    @property
    def is_configured(self) -> bool:
        """Is it a studio's own, which only the studio changes?"""
        return self._files is None

    def token_keys(self) -> dict[str, bytes]:
        """Public keys of all accepted token keys by id, PEM."""
        return self.tokens.public()

    # Change.

    def rotate(self) -> str:
        """
        Sign with a new key and certificate from now on.

        Who trusts the certificate before it is served for `ACCEPTED_DAYS` more.

        :returns: the new authority's id.
        :raises Misconfigured: it is a studio's own, or cannot be written.
        """
        if self._files is None:
            raise Misconfigured(
                "the authority is configured: put a new certificate and key in its "
                "files and send the node SIGHUP"
            )
        self._signing = self._files.rotate(
            self._signing, self._now(), datetime.timedelta(days=ACCEPTED_DAYS)
        )
        return _id_of(self._signing.certificate)

    def reload(self) -> bool:
        """
        Read the files again.

        :returns: whether another authority signs now.
        :raises Misconfigured: they cannot be used; what was there before stays.
        """
        before = self._signing.certificate
        self._signing = self._checked(self._read())
        return self._signing.certificate != before

    def drop(self) -> bool:
        """Forget former authorities whose time is over; was there any?"""
        before = self._signing
        if self._files is not None:
            self._signing = self._files.drop(before, self._now())
        return self._signing.formers != before.formers

    def known(self) -> list[KeyTold]:
        """List who is accepted for signing certificates, oldest first."""
        told = []
        # The cross-certificate is of the day it was replaced, and says how long it
        # is still accepted.
        for former in reversed(self._signing.formers):
            cross = former.cross
            ends = cross.not_valid_after_utc.timestamp()
            name = _id_of(former.certificate)
            told.append(KeyTold(name, "ca", "accepted", made_at(cross), ends))
        active = self._signing.certificate
        told.append(
            KeyTold(_id_of(active), "ca", "active", made_at(active), self.expires_at)
        )
        return told

    # Certificates.

    def issue(self, server: str) -> Issued:
        """
        Make a certificate for one game server.

        :param server: its label inside the realm, 1 to 63 characters.
        """
        return self._sign(
            "vinom game server", [f"*.{server}.{self.realm}"], _SERVER_LIFE
        )

    def lobby(self, names: Sequence[str]) -> Issued:
        """
        Give the lobby's certificate for these host names and addresses.

        Kept between starts, and made anew when the names or the authority
        changed or its end is near. What comes with it leads to the anchor and to
        every former one, and the anchors themselves are sent too, so that a client
        that knows no more than the fingerprint of one can verify it.
        """
        certificate_path = self._folder / "lobby.pem"
        key_path = self._folder / "lobby.key"
        wanted = sorted(set(names))
        if certificate_path.exists() and key_path.exists():
            issued = Issued(certificate_path.read_bytes(), key_path.read_bytes())
            if self._is_good(certificate_path, wanted):
                return issued
        made = self._sign("vinom lobby", wanted, _LOBBY_LIFE)
        links = b"".join(map(pem_of, self._links()))
        issued = Issued(made.certificate + links, made.key)
        write_secret(key_path, issued.key)
        write_secret(certificate_path, issued.certificate)
        return issued

    def _links(self) -> list[x509.Certificate]:
        """
        List what is sent after the lobby's leaf.

        Cross-certificates stand first: OpenSSL takes the first issuer that fits
        and does not come back for another.
        """
        formers = self._signing.formers
        return [
            *(former.cross for former in formers),
            self._signing.certificate,
            *(former.certificate for former in formers),
        ]

    def _is_good(self, path: Path, wanted: Sequence[str]) -> bool:
        found, *links = read_certificates(path)
        left = found.not_valid_after_utc - moment(self._now())
        return (
            links == self._links()
            and left > _RENEWAL
            and found.extensions.get_extension_for_class(
                x509.SubjectAlternativeName
            ).value
            == alternative_names(wanted)
        )

    def _sign(
        self, purpose: str, names: Sequence[str], life: datetime.timedelta
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        signing, now = self._signing, moment(self._now())
        made = leaf(signing.certificate, signing.key, key, purpose, names, now, life)
        return Issued(pem_of(made), private_pem(key))


def _id_of(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key_id(key)


def private_folder(path: Path) -> Path:
    """
    Make a folder that only we can enter.

    :raises Misconfigured: it cannot be made, or is not ours alone.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise Misconfigured(
            f"the state directory {path} cannot be used: {error.strerror}; set "
            "state_dir to a folder of this user"
        ) from error
    return path
