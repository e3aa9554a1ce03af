"""Programs that some tests need, and what happens to those tests without them."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn
from unittest import SkipTest

#: Program to its Debian package; ``.ci/run`` installs what is missing.
PACKAGES = {
    "buildah": "buildah",
    "caddy": "caddy",
    "chromedriver": "chromium-driver",
    "chromium": "chromium",
    "curl": "curl",
    "debootstrap": "debootstrap",
    "gnutls-cli": "gnutls-bin",
    "godot3-server": "godot3-server",
    "haproxy": "haproxy",
    "ip": "iproute2",
    "nc": "netcat-openbsd",
    "nginx": "nginx",
    "node": "nodejs",
    "npm": "npm",
    "openssl": "openssl",
    "runc": "runc",
    "systemd-analyze": "systemd",
    "systemd-socket-activate": "systemd",
}


def needs(*programs: str) -> None:
    """
    Skip the running test if one of these is not installed; with ``CI`` set, fail it.

    :param programs: keys of `PACKAGES`.
    """
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        packages = " ".join(PACKAGES[program] for program in missing)
        do_without(f"not installed: {', '.join(missing)} (Debian: {packages})")


def path_of(program: str) -> str:
    """Find a program that the running test `needs`."""
    needs(program)
    path = shutil.which(program)
    assert path is not None
    return path


def do_without(why: str) -> NoReturn:
    """
    Skip the running test; with ``CI`` set, fail it.

    :param why: names what is missing.
    """
    if os.environ.get("CI"):
        raise AssertionError(f"{why}; with CI set, no test is skipped for that")
    raise SkipTest(why)
