"""
The node's certificate authority: its certificates, its files, and its rotation.

Everything lives in the state directory (0700, files 0600) and is made at the first
start. One authority signs. An authority that was replaced is accepted for a while,
because it signed its successor's certificate (decision 0019). Keys are ECDSA P-256.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from vinom.base.model import Issued
from vinom.base.tokens import TokenSigner
from vinom.errors import Misconfigured
from vinom.net.keys.files import (
    KeyReport,
    key_id,
    load_or_make,
    private_pem,
    read_certificates,
    read_signing_key,
    write_secret,
    writing,
)
from vinom.net.keys.tokens import TokenKeyring

DAY = datetime.timedelta(days=1)
#: Certificates are valid from this long ago, so that a client's clock may be behind.
_SKEW = DAY
#: The same in seconds.
BACKDATED = _SKEW.total_seconds()
#: Subject of the certificates of nodes for their links.
NODE_PURPOSE = "vinom node"
#: The same of gateways.
GATEWAY_PURPOSE = "vinom gateway"
_AUTHORITY_LIFE = 3650 * DAY


def pem_of(certificate: x509.Certificate) -> bytes:
    """Write a certificate as PEM."""
    return certificate.public_bytes(Encoding.PEM)


def made_at(certificate: x509.Certificate) -> float:
    """Return when we made a certificate, seconds since the Unix epoch."""
    return (certificate.not_valid_before_utc + _SKEW).timestamp()


def moment(seconds: float) -> datetime.datetime:
    """Convert seconds since the Unix epoch to the form of certificates."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(microsecond=0)


def authority_name(realm: str) -> x509.Name:
    """Name the private authority of a realm."""
    return _name(f"vinom private authority of {realm}"[:64])


def self_signed(
    key: ec.EllipticCurvePrivateKey, name: x509.Name, now: datetime.datetime
) -> x509.Certificate:
    """Make the certificate of a new authority."""
    return _authority(key, key.public_key(), name, now, now + _AUTHORITY_LIFE)


def cross_signed(
    older: x509.Certificate,
    older_key: ec.EllipticCurvePrivateKey,
    newer: x509.Certificate,
    now: datetime.datetime,
    until: datetime.datetime,
) -> x509.Certificate:
    """
    Sign a newer authority with an older one, for players who trust the older one.

    Both have the same name, which makes this a "self-issued" certificate: limits on
    the length of paths do not count it (source: RFC 5280, 6.1.4, and RFC 4210, 4.4).

    :raises Misconfigured: their names differ.
    """
    if older.subject != newer.subject:
        raise Misconfigured("the older and the newer authority must have the same name")
    key = newer.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Misconfigured("the newer authority's key is not an elliptic curve key")
    ends = min(until, older.not_valid_after_utc)
    return _authority(older_key, key, older.subject, now, ends)


def leaf(
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePrivateKey,
    purpose: str,
    names: Sequence[str],
    now: datetime.datetime,
    life: datetime.timedelta,
    *,
    is_client: bool = False,
) -> x509.Certificate:
    """
    Sign a certificate for a server with these host names and addresses.

    :param purpose: the subject, for people who read the certificate.
    :param is_client: whether its owner may also dial, and prove who it is.
    """
    uses = [ExtendedKeyUsageOID.SERVER_AUTH]
    if is_client:
        uses.append(ExtendedKeyUsageOID.CLIENT_AUTH)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(purpose))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - _SKEW, authority.not_valid_before_utc))
        .not_valid_after(min(now + life, authority.not_valid_after_utc))
        .add_extension(alternative_names(names), critical=False)
        .add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        # Strict verifiers (Python 3.13's default) require it, and it distinguishes
        # authorities of the same name.
        .add_extension(_signed_by(authority_key), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def is_authority(certificate: x509.Certificate) -> bool:
    """May the owner of a certificate sign others?"""
    try:
        extension = certificate.extensions.get_extension_for_class(
            x509.BasicConstraints
        )
    except x509.ExtensionNotFound:
        return False
    return extension.value.ca


def check_usable(certificate: x509.Certificate, now: datetime.datetime) -> None:
    """
    Check that an authority's certificate can sign today.

    :raises Misconfigured: it cannot; the message says why.
    """
    if not is_authority(certificate):
        raise Misconfigured(
            "the authority's certificate may not sign others: it lacks the CA flag"
        )
    ends = certificate.not_valid_after_utc
    if ends <= now:
        raise Misconfigured(
            f"the authority's certificate expired on {ends:%Y-%m-%d}; replace it, or "
            "move the private authority's files away"
        )


def alternative_names(names: Sequence[str]) -> x509.SubjectAlternativeName:
    """Convert host names and addresses to the form of certificates."""
    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def _authority(
    signer: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePublicKey,
    name: x509.Name,
    now: datetime.datetime,
    ends: datetime.datetime,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(ends)
        # No limit on the path: GnuTLS counts self-issued certificates too.
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
    if signer.public_key() != key:
        builder = builder.add_extension(_signed_by(signer), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _signed_by(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


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


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@attrs.frozen
class Former:
    """
    An authority that was replaced; its key is deleted.

    :ivar certificate: its own certificate.
    :ivar cross: its successor's certificate, signed by it; until that expires, this
        authority is accepted.
    """

    certificate: x509.Certificate
    cross: x509.Certificate
    path: Path


@attrs.frozen
class Signing:
    """
    The authority that signs now, and the ones before it.

    :ivar certificate: its own certificate.
    :ivar key: the certificate's private key.
    :ivar formers: newest first; each one's cross-certificate is for the one before it.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = attrs.field(repr=False)
    formers: tuple[Former, ...] = ()


class AuthorityFiles:
    """
    Read and write ``ca.key``, ``ca.pem`` and ``former/*.pem`` in one folder.

    The next `open` finishes or undoes a rotation that was interrupted: at every moment
    there is one key with its certificate.
    """

    def __init__(self, folder: Path) -> None:
        """
        :param folder: where they are.
        """
        self.certificate_path = folder / "ca.pem"
        self._key_path = folder / "ca.key"
        self._next_certificate_path = folder / "ca-next.pem"
        self._next_key_path = folder / "ca-next.key"
        self._formers = folder / "former"

    def open(self, realm: str, now: float) -> Signing:
        """
        Read the authority; make it if there is none.

        :raises Misconfigured: a file cannot be read, written or used; the message
            names it.
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
        Replace *old* by a new authority, and delete its key.

        :param accepted: how long players who trust the old one can still connect.
        :raises Misconfigured: a file cannot be written.
        """
        at = moment(now)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self_signed(key, old.certificate.subject, at)
        cross = cross_signed(old.certificate, old.key, certificate, at, at + accepted)
        with writing(self._formers):
            self._formers.mkdir(mode=0o700, exist_ok=True)
        numbers = [_number(path) for path in self._formers.glob("*.pem")]
        path = self._formers / f"{max(numbers, default=0) + 1:04}.pem"
        write_secret(path, pem_of(old.certificate) + pem_of(cross))
        write_secret(self._next_certificate_path, pem_of(certificate))
        write_secret(self._next_key_path, private_pem(key))
        # This is the moment of the change: if this process dies after it, `_settle`
        # does the rest.
        with writing(self._key_path):
            self._next_key_path.replace(self._key_path)
        self._settle(key)
        return Signing(certificate, key, self._read_formers(certificate, now))

    def drop(self, signing: Signing, now: float) -> Signing:
        """Delete the former authorities that have expired."""
        return attrs.evolve(
            signing, formers=self._read_formers(signing.certificate, now)
        )

    def _settle(self, key: ec.EllipticCurvePrivateKey) -> None:
        """Finish a rotation that has its key, or undo one that has not."""
        self._next_key_path.unlink(missing_ok=True)
        if not self._next_certificate_path.exists():
            return
        (found,) = read_certificates(self._next_certificate_path)
        if found.public_key() == key.public_key():
            os.replace(self._next_certificate_path, self.certificate_path)
        else:
            self._next_certificate_path.unlink()

    def _read_formers(self, active: x509.Certificate, now: float) -> tuple[Former, ...]:
        """Walk back from the active one; skip certificates that do not lead to it."""
        formers: list[Former] = []
        successor = active
        for path in sorted(self._formers.glob("*.pem"), key=_number, reverse=True):
            found = read_certificates(path)
            if len(found) != 2:
                raise Misconfigured(
                    f"{path} must contain two certificates, not {len(found)}"
                )
            certificate, cross = found
            if cross.not_valid_after_utc <= moment(now) or certificate == active:
                # It has expired, or its rotation was undone.
                path.unlink(missing_ok=True)
            elif cross.public_key() == successor.public_key():
                formers.append(Former(certificate, cross, path))
                successor = certificate
        return tuple(formers)


def read_configured(certificate_file: Path, key_file: Path) -> Signing:
    """
    Read a studio's own authority.

    :raises Misconfigured: a file cannot be read or used; the message names it.
    """
    key = read_signing_key(key_file, "authority_key_file")
    found = read_certificates(certificate_file, "authority_certificate_file")
    return Signing(found[0], key)


def _number(path: Path) -> int:
    return int(path.stem) if path.stem.isdecimal() else 0


#: Players who trust an authority that was replaced can connect for this long, days.
ACCEPTED_DAYS = 30
_LOBBY_LIFE = 397 * DAY
#: A game server runs for its matches: hours, at most.
_SERVER_LIFE = 30 * DAY
#: The lobby's certificate is replaced when it expires within this time.
_RENEWAL = 30 * DAY
RENEWAL_SECONDS = _RENEWAL.total_seconds()


class Authority:
    """
    Sign certificates for the lobby and for game servers, and connect tokens.

    Made by `open`. Certificate names of game servers are ``*.<server>.<realm>``:
    the ticket a client shows is one label more (decision 0002).

    :ivar tokens: the keys that sign connect tokens.
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
        """
        :param realm: domain that game servers' names end with.
        :param read: reads the certificate and key that sign.
        :param path: path of the certificate, for messages.
        :param files: files of the private authority; ``None`` for a studio's own.
        :param tokens: keys of connect tokens.
        :param now: the time, seconds since the Unix epoch.
        :param folder: where the lobby's certificate is kept.
        """
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
        Read the authority in *state_dir*; make what is missing.

        :param now: the time, seconds since the Unix epoch.
        :param certificate_file: the studio's own authority, PEM, instead of the
            private one; requires *key_file*.
        :raises Misconfigured: a file cannot be read, written or used; the message
            names it.
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
        """The authority's certificate, which verifies certificates issued now, PEM."""
        return pem_of(self._signing.certificate)

    @property
    def signer(self) -> TokenSigner:
        """The active key, which signs connect tokens."""
        return self.tokens.signer

    @property
    def expires_at(self) -> float:
        """When the authority's own certificate expires, seconds since the epoch."""
        return self._signing.certificate.not_valid_after_utc.timestamp()

    @property
    def is_configured(self) -> bool:
        """Is it a studio's own, which only the studio can change?"""
        return self._files is None

    def token_keys(self) -> dict[str, bytes]:
        """Public keys of all accepted token keys by id, PEM."""
        return self.tokens.public()

    # Change.

    def rotate(self) -> str:
        """
        Sign with a new key and certificate from now on.

        Players who trust the one before it can connect for `ACCEPTED_DAYS` more.

        :returns: the new authority's id.
        :raises Misconfigured: it is a studio's own, or a file cannot be written.
        """
        if self._files is None:
            raise Misconfigured(
                "the node cannot rotate a studio's own authority: write a new "
                "certificate and key to its files and send the node SIGHUP"
            )
        self._signing = self._files.rotate(
            self._signing, self._now(), datetime.timedelta(days=ACCEPTED_DAYS)
        )
        return _id_of(self._signing.certificate)

    def reload(self) -> bool:
        """
        Read the files again.

        :returns: whether another authority signs now.
        :raises Misconfigured: they cannot be used; the previous authority stays.
        """
        before = self._signing.certificate
        self._signing = self._checked(self._read())
        return self._signing.certificate != before

    def drop(self) -> bool:
        """Delete former authorities that have expired; were there any?"""
        before = self._signing
        if self._files is not None:
            self._signing = self._files.drop(before, self._now())
        return self._signing.formers != before.formers

    def known(self) -> list[KeyReport]:
        """List the authorities whose certificates are accepted, oldest first."""
        known = []
        # The cross-certificate was made when it was replaced, and expires when it is
        # no longer accepted.
        for former in reversed(self._signing.formers):
            cross = former.cross
            ends = cross.not_valid_after_utc.timestamp()
            name = _id_of(former.certificate)
            known.append(KeyReport(name, "ca", "accepted", made_at(cross), ends))
        active = self._signing.certificate
        known.append(
            KeyReport(_id_of(active), "ca", "active", made_at(active), self.expires_at)
        )
        return known

    # Certificates.

    def issue(self, server: str) -> Issued:
        """
        Make a certificate for one game server.

        :param server: its label inside the realm, 1 to 63 characters.
        :raises Misconfigured: the authority has expired.
        """
        check_usable(self._signing.certificate, moment(self._now()))
        return self._sign(
            "vinom game server", [f"*.{server}.{self.realm}"], _SERVER_LIFE
        )

    def node_name(self, node_id: str) -> str:
        """Make the name that a node's certificate is for."""
        # No game server has this label: theirs are longer.
        return f"{node_id}.nodes.{self.realm}"

    def node(self, node_id: str) -> Issued:
        """
        Issue a certificate for this node's links to others: only nodes have one.

        :raises Misconfigured: the authority has expired.
        """
        check_usable(self._signing.certificate, moment(self._now()))
        names = [self.node_name(node_id)]
        return self._sign(NODE_PURPOSE, names, _SERVER_LIFE, is_client=True)

    def node_chain(self, node_id: str) -> Issued:
        """
        Issue such a certificate with those that lead to every former anchor.

        For programs that were given an anchor once, and are not given the next one.

        :raises Misconfigured: the authority has expired.
        """
        return self._with_links(self.node(node_id))

    def gateway(self, name: str, life: datetime.timedelta) -> Issued:
        """
        Issue a certificate for a gateway's links to nodes.

        :param name: of the gateway, a label: for people who read the certificate.
        :raises Misconfigured: the authority has expired.
        """
        check_usable(self._signing.certificate, moment(self._now()))
        names = [f"{name}.gateways.{self.realm}"]
        return self._sign(GATEWAY_PURPOSE, names, life, is_client=True)

    def lobby(self, names: Sequence[str]) -> Issued:
        """
        Return the lobby's certificate for these host names and addresses.

        It is kept between starts, and replaced if the names or the authority have
        changed or if it expires soon. The certificates sent with it lead to the anchor
        and to every former one. The anchors are sent too, for clients that have no
        more than the fingerprint of one.
        """
        certificate_path = self._folder / "lobby.pem"
        key_path = self._folder / "lobby.key"
        wanted = sorted(set(names))
        if certificate_path.exists() and key_path.exists():
            issued = Issued(certificate_path.read_bytes(), key_path.read_bytes())
            if self._is_valid(certificate_path, wanted):
                return issued
        issued = self._with_links(self._sign("vinom lobby", wanted, _LOBBY_LIFE))
        write_secret(key_path, issued.key)
        write_secret(certificate_path, issued.certificate)
        return issued

    def _with_links(self, made: Issued) -> Issued:
        links = b"".join(map(pem_of, self._links()))
        return Issued(made.certificate + links, made.key)

    def _links(self) -> list[x509.Certificate]:
        """
        List the certificates that are sent after the lobby's own.

        Cross-certificates come first: OpenSSL takes the first issuer that fits and does
        not try another.
        """
        formers = self._signing.formers
        return [
            *(former.cross for former in formers),
            self._signing.certificate,
            *(former.certificate for former in formers),
        ]

    def _is_valid(self, path: Path, wanted: Sequence[str]) -> bool:
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
        self,
        purpose: str,
        names: Sequence[str],
        life: datetime.timedelta,
        *,
        is_client: bool = False,
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        signing, now = self._signing, moment(self._now())
        made = leaf(
            signing.certificate,
            signing.key,
            key,
            purpose,
            names,
            now,
            life,
            is_client=is_client,
        )
        return Issued(pem_of(made), private_pem(key))


def _id_of(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key_id(key)


def private_folder(path: Path) -> Path:
    """
    Make a folder that only this user can enter.

    :raises Misconfigured: it cannot be made, or other users can enter it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise Misconfigured(
            f"the state directory {path} cannot be used: {error.strerror}; set "
            "state_dir to a folder that this user owns"
        ) from error
    return path
