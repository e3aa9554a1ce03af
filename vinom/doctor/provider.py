"""What ``vinom doctor`` checks of the identity provider that signs players' JWTs."""

from __future__ import annotations

import ssl
from http.client import HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from vinom.conversation.identity import OutsideVerifier
from vinom.conversation.provider import DEADLINE, MOST_BYTES
from vinom.doctor.findings import Finding, failure, ok
from vinom.errors import Misconfigured
from vinom.keys.files import read_file
from vinom.node.settings import Settings

_NAME = "identity keys"


def examine_provider(settings: Settings) -> list[Finding]:
    """Read or fetch the provider's keys as the node would; nothing without one."""
    issuer, audience = settings.identity_issuer, settings.identity_audience
    if issuer is None or audience is None:
        return []
    url, path = settings.identity_keys_url, settings.identity_keys_file
    verifier = OutsideVerifier(b"", issuer, audience)
    try:
        if path is not None:
            verifier.use(read_file(path, "identity_keys_file") or b" ")
        elif url is not None:
            verifier.use(_fetched(settings, url) or b" ")
    except Misconfigured as error:
        told, _, remedy = str(error).partition("; ")
        return [failure(_NAME, told, remedy or "replace the file")]
    except (OSError, HTTPException, ValueError) as error:
        # No error of this kind contains the keys.
        return [
            failure(
                _NAME,
                f"{url} does not answer with keys: {error}",
                "check identity_keys_url, the route and firewall to its server, and "
                "that identity_authority_file signed its certificate; until then the "
                "node refuses tokens with unavailable",
            )
        ]
    return [ok(_NAME, f"{url or path} has {verifier.key_count}")]


def _fetched(settings: Settings, url: str) -> bytes:
    """Fetch the keys as the node does: directly, and without redirects."""
    path = settings.identity_authority_file
    pem = None if path is None else read_file(path, "identity_authority_file")
    context = ssl.create_default_context(
        cadata=None if pem is None else pem.decode("ascii")
    )
    parts = urlsplit(url)
    connection = HTTPSConnection(
        parts.hostname or "", parts.port or 443, timeout=DEADLINE, context=context
    )
    try:
        where = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        connection.request("GET", where, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"it answers {answer.status}, not 200")
        body = answer.read(MOST_BYTES + 1)
    finally:
        connection.close()
    if len(body) > MOST_BYTES:
        raise ValueError(f"its answer is above {MOST_BYTES} bytes")
    return body
