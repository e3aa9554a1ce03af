"""
The node's private authority: its certificates and its token signing keys.

Everything lives in the state directory (0700, files 0600) and is made on the
first start. Keys are ECDSA P-256 for certificates and Ed25519 for tokens.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from vinom.errors import Misconfigured
from vinom.services.keyring import (
    TokenKeys,
    load_or_make,
    private_pem,
    read_certificates,
    read_signing_key,
    write_secret,
)
from vinom.wire.tokens import TokenSigner

_DAY = datetime.timedelta(days=1)
#: Certificates start in the past, so that a client's clock may be behind.
_SKEW = _DAY
_AUTHORITY_LIFE = 3650 * _DAY
_LOBBY_LIFE = 397 * _DAY
#: A game server lives for its matches: hours, at most.
_SERVER_LIFE = 30 * _DAY
#: The lobby's certificate is made anew when less than this is left of it.
_RENEWAL = 30 * _DAY


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

    :ivar anchor: what players verify servers with, PEM.
    :ivar signer: signs connect tokens with the active key.
    """

    def __init__(
        self,
        realm: str,
        certificate: x509.Certificate,
        key: ec.EllipticCurvePrivateKey,
        tokens: TokenKeys,
        now: Callable[[], float],
        folder: Path,
    ) -> None:
        self.realm = realm
        self.anchor = pem_of(certificate)
        self.signer = TokenSigner(tokens.active, tokens.private[tokens.active])
        self._certificate, self._key = certificate, key
        self._tokens, self._now, self._folder = tokens, now, folder

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
        folder = private_folder(state_dir) / "authority"
        private_folder(folder)
        if certificate_file is not None and key_file is not None:
            key = read_signing_key(key_file)
            certificate = read_certificates(certificate_file)[0]
        else:
            key = load_or_make(folder / "ca.key")
            path = folder / "ca.pem"
            if not path.exists():
                made = _self_signed(key, realm, _moment(now()))
                write_secret(path, pem_of(made))
            certificate = read_certificates(path)[0]
        if certificate.public_key() != key.public_key():
            raise Misconfigured(
                f"the authority's key does not belong to its certificate "
                f"({certificate_file or folder / 'ca.pem'})"
            )
        _check_usable(certificate, _moment(now()))
        tokens = TokenKeys.open(private_folder(folder / "tokens"))
        return cls(realm, certificate, key, tokens, now, folder)

    @property
    def expires_at(self) -> float:
        """When the authority's own certificate ends, seconds since the epoch."""
        return self._certificate.not_valid_after_utc.timestamp()

    def token_keys(self) -> dict[str, bytes]:
        """Public keys of all accepted token keys by id, PEM."""
        return dict(self._tokens.public)

    def issue(self, server: str) -> Issued:
        """
        Make a certificate for one game server.

        :param server: its label inside the realm, 1 to 63 characters.
        """
        return self._sign([f"*.{server}.{self.realm}"], _SERVER_LIFE)

    def lobby(self, names: Sequence[str]) -> Issued:
        """
        Give the lobby's certificate for these host names and addresses.

        Kept between starts, and made anew when the names or the authority
        changed or its end is near. The anchor is sent with it, so that a client
        that knows no more than the anchor's fingerprint can verify it.
        """
        certificate_path = self._folder / "lobby.pem"
        key_path = self._folder / "lobby.key"
        wanted = sorted(set(names))
        if certificate_path.exists() and key_path.exists():
            issued = Issued(certificate_path.read_bytes(), key_path.read_bytes())
            if self._is_good(certificate_path, wanted):
                return issued
        made = self._sign(wanted, _LOBBY_LIFE)
        issued = Issued(made.certificate + self.anchor, made.key)
        write_secret(key_path, issued.key)
        write_secret(certificate_path, issued.certificate)
        return issued

    def _is_good(self, path: Path, wanted: Sequence[str]) -> bool:
        leaf, *chain = read_certificates(path)
        left = leaf.not_valid_after_utc - _moment(self._now())
        return (
            chain == [self._certificate]
            and left > _RENEWAL
            and leaf.extensions.get_extension_for_class(
                x509.SubjectAlternativeName
            ).value
            == _alternative_names(wanted)
        )

    def _sign(self, names: Sequence[str], life: datetime.timedelta) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        now = _moment(self._now())
        begins = max(now - _SKEW, self._certificate.not_valid_before_utc)
        ends = min(now + life, self._certificate.not_valid_after_utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name("vinom server"))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(_alternative_names(names), critical=False)
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
                critical=False,
            )
            # Strict verifiers (Python 3.13's default) ask for it.
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    self._key.public_key()
                ),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return Issued(pem_of(certificate), private_pem(key))


def ends_at(certificate: bytes) -> float:
    """
    Say when a certificate ends, seconds since the Unix epoch.

    :param certificate: PEM; only the first one counts.
    """
    (leaf, *_) = x509.load_pem_x509_certificates(certificate)
    return leaf.not_valid_after_utc.timestamp()


def pem_of(certificate: x509.Certificate) -> bytes:
    """Write a certificate down."""
    return certificate.public_bytes(Encoding.PEM)


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
            f"the state directory {path} cannot be used: {error.strerror}"
        ) from error
    return path


def _self_signed(
    key: ec.EllipticCurvePrivateKey, realm: str, now: datetime.datetime
) -> x509.Certificate:
    name = _name(f"vinom private authority of {realm}"[:64])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(True, 0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )


def _check_usable(certificate: x509.Certificate, now: datetime.datetime) -> None:
    try:
        constraints = certificate.extensions.get_extension_for_class(
            x509.BasicConstraints
        ).value
    except x509.ExtensionNotFound:
        constraints = x509.BasicConstraints(False, None)
    if not constraints.ca:
        raise Misconfigured("the authority's certificate is not one of an authority")
    ends = certificate.not_valid_after_utc
    if ends <= now:
        raise Misconfigured(
            f"the authority's certificate ended on {ends:%Y-%m-%d}; put a new one "
            "in its place, or move the private authority's files away"
        )


def _key_usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_names(names: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(microsecond=0)
