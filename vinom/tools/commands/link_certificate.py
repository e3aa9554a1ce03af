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

OPTIONS = """
folder FOLDER         write link.pem, link.key and authority.pem here
--name NAME = gateway
                      name of the gateway in the certificate
--days N 1..3650 = 365
                      days for which the certificate is valid
--state-dir PATH      state directory of a node that has a private authority (default:
                      VINOM_STATE_DIR)
--authority-certificate-file PATH
                      the authority of the nodes, PEM (default:
                      VINOM_AUTHORITY_CERTIFICATE_FILE)
--authority-key-file PATH
                      the key of that authority, PEM (default: VINOM_AUTHORITY_KEY_FILE)
--realm REALM         the realm of the nodes (default: VINOM_REALM)
"""


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


def _given(options: argparse.Namespace, name: str) -> str | None:
    name = name.replace("-", "_")
    found: str | None = getattr(options, name)
    variable = f"VINOM_{name.upper()}"
    return found or os.environ.get(variable) or None


def _path(options: argparse.Namespace, name: str) -> Path | None:
    found = _given(options, name)
    return None if found is None else checked_path(f"--{name}", found)
