"""``vinom link-certificate``: make the certificate of a gateway for links to nodes."""

from __future__ import annotations

import argparse
import datetime
import os
import time
from pathlib import Path

from vinom.base.printable import say
from vinom.base.settings.sources import checked_path
from vinom.base.settings.values import LABEL
from vinom.errors import Misconfigured
from vinom.net.keys.authority import Authority, private_folder
from vinom.net.keys.files import write_secret
from vinom.node.settings import Settings

#: How long a certificate is valid by default, days.
DAYS = 365
_MOST_DAYS = 3650


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="write link.pem, link.key and authority.pem here",
    )
    parser.add_argument(
        "--name",
        default="gateway",
        metavar="NAME",
        help="name of the gateway in the certificate (default: gateway)",
    )
    parser.add_argument(
        "--days",
        type=int,
        default=DAYS,
        metavar="N",
        help=f"days for which the certificate is valid (default: {DAYS})",
    )
    for name, text in (
        ("state-dir", "state directory of a node that has a private authority"),
        ("authority-certificate-file", "the authority of the nodes, PEM"),
        ("authority-key-file", "the key of that authority, PEM"),
        ("realm", "the realm of the nodes"),
    ):
        variable = _variable(name)
        parser.add_argument(
            f"--{name}", metavar="PATH", help=f"{text} (default: {variable})"
        )


def run(options: argparse.Namespace) -> int:
    """
    Make the certificate.

    :raises Misconfigured: the authority cannot be used, or an argument is wrong.
    """
    if not LABEL.fits(options.name):
        raise Misconfigured(
            f"--name {options.name!r} must be 1 to 63 lower-case letters, digits and "
            "hyphens, with no hyphen at either end"
        )
    if not 1 <= options.days <= _MOST_DAYS:
        raise Misconfigured(f"--days {options.days} must be from 1 to {_MOST_DAYS}")
    defaults = Settings()
    certificate = _path(options, "authority-certificate-file")
    key = _path(options, "authority-key-file")
    if (certificate is None) != (key is None):
        raise Misconfigured(
            "set both --authority-certificate-file and --authority-key-file, or neither"
        )
    authority = Authority.open(
        _path(options, "state-dir") or defaults.state_dir,
        _given(options, "realm") or defaults.realm,
        time.time,
        certificate_file=certificate,
        key_file=key,
    )
    made = authority.gateway(options.name, datetime.timedelta(days=options.days))
    folder = private_folder(options.folder)
    write_secret(folder / "link.key", made.key)
    write_secret(folder / "link.pem", made.certificate)
    write_secret(folder / "authority.pem", authority.anchor)
    say(
        f"Wrote link.pem, link.key and authority.pem to {folder}, valid for "
        f"{options.days} days. The gateway's settings:\n"
        f"link_certificate_file = {str(folder.absolute() / 'link.pem')!r}\n"
        f"link_key_file = {str(folder.absolute() / 'link.key')!r}\n"
        f"link_authority_file = {str(folder.absolute() / 'authority.pem')!r}"
    )
    return 0


def _variable(name: str) -> str:
    return f"VINOM_{name.replace('-', '_').upper()}"


def _given(options: argparse.Namespace, name: str) -> str | None:
    found: str | None = getattr(options, name.replace("-", "_"))
    return found or os.environ.get(_variable(name)) or None


def _path(options: argparse.Namespace, name: str) -> Path | None:
    found = _given(options, name)
    return None if found is None else checked_path(f"--{name}", found)
