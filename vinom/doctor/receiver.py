"""What ``vinom doctor`` checks of the server that results are sent to."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

from vinom.doctor.findings import Finding, failure, ok, warning
from vinom.errors import Misconfigured
from vinom.keys.files import read_file
from vinom.node.settings import Settings
from vinom.results.sending import place_of
from vinom.results.webhook import read_secrets

_NAME = "results"


def examine_receiver(settings: Settings) -> list[Finding]:
    """
    Read the secrets, and connect to the receiver as the node would.

    Nothing is sent: a request without a result would only confuse it.
    """
    url, path = settings.results_url, settings.results_secret_file
    if url is None or path is None:
        return []
    try:
        count = len(read_secrets(read_file(path, "results_secret_file"), str(path)))
        name = _verified_name(settings, url)
    except Misconfigured as error:
        return [failure(_NAME, str(error), "replace the file")]
    except (OSError, ValueError) as error:
        return [
            warning(
                _NAME,
                f"{place_of(url)} cannot be reached: {error}",
                "check results_url, the route and firewall to its server, and that "
                "results_authority_file signed its certificate; until then results "
                "wait in the state directory",
            )
        ]
    secrets = "1 secret" if count == 1 else f"{count} secrets"
    return [ok(_NAME, f"{place_of(url)} is reached{name}, {secrets} to sign with")]


def _verified_name(settings: Settings, url: str) -> str:
    """Connect, verify the server as the node does, and hang up."""
    parts = urlsplit(url)
    host, is_secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if is_secure else 80)
    context = None
    if is_secure:
        path = settings.results_authority_file
        pem = None if path is None else read_file(path, "results_authority_file")
        context = ssl.create_default_context(
            cadata=None if pem is None else pem.decode("ascii")
        )
    with socket.create_connection((host, port), settings.results_timeout) as line:
        if context is None:
            return ""
        with context.wrap_socket(line, server_hostname=host):
            return f" and verified as {host}"
