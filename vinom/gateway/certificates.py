"""The certificates of the public port, read again when their files change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vinom.errors import Misconfigured
from vinom.net.keys.files import read_file
from vinom.net.lines.tls import NamedTls, ReloadableTls

_log = Logger()

#: How often the files are checked, seconds.
LOOK_SECONDS = 60.0


class Certificates(Service):
    """
    Read certificates, again whenever one of their files changes.

    :ivar tls: uses them for TLS.
    """

    name = "certificates"

    def __init__(self, files: Sequence[tuple[Path, Path]], clock: IReactorTime) -> None:
        """
        :param files: the files of each certificate and its key; at least one pair.
        :param clock: times the checks.
        :raises Misconfigured: a file cannot be read or used.
        """
        # They are read again later, after twistd has changed its working directory.
        self._files = [(one.absolute(), key.absolute()) for one, key in files]
        self._clock = clock
        self._read = [_contents(*pair) for pair in self._files]
        self._certificates = [ReloadableTls(*found) for found in self._read]
        self.tls = NamedTls(self._certificates)
        self._next: IDelayedCall | None = None

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self._next = self._clock.callLater(LOOK_SECONDS, self._look)

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _look(self) -> None:
        self._next = self._clock.callLater(LOOK_SECONDS, self._look)
        self.reload()

    def reload(self) -> None:
        """Read the files; those that cannot be used change nothing."""
        for number, pair in enumerate(self._files):
            try:
                found = _contents(*pair)
                if found == self._read[number]:
                    continue
                self._certificates[number].use(*found)
            except Misconfigured as error:
                # Perhaps only one of the two files has been replaced so far.
                _log.error("the previous certificate stays in use: {why}", why=error)
                continue
            self._read[number] = found
            _log.info(
                "new certificate {fingerprint} from {path}",
                fingerprint=self._certificates[number].fingerprint,
                path=str(pair[0]),
            )


def _contents(certificate: Path, key: Path) -> tuple[bytes, bytes]:
    return (
        read_file(certificate, "tls_certificate_file"),
        read_file(key, "tls_key_file"),
    )
