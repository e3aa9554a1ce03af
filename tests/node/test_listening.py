"""What the log says of the ports."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vinom.node.listening import (
    address_towards,
    meeting_place,
    page_over_tls,
    remove_meeting_place,
)


class PageTests(SynchronousTestCase):
    def test_address(self) -> None:
        """
        The address of the page over TLS can be clicked, and has the name that the
        certificate has where the port can be reached by it.
        """
        for at, public, address in (
            ("127.0.0.1:8443", "localhost", "https://localhost:8443/"),
            ("127.0.0.1:8443", "play.example.org", "https://127.0.0.1:8443/"),
            ("0.0.0.0:443", "play.example.org", "https://play.example.org:443/"),
            ("[::]:8443", "2001:db8::1", "https://[2001:db8::1]:8443/"),
            ("[::1]:8443", "::1", "https://[::1]:8443/"),
            ("/run/vinom.sock", "play.example.org", "/run/vinom.sock"),
        ):
            self.assertEqual(page_over_tls(at, public), address)


class AddressTests(SynchronousTestCase):
    def test_towards(self) -> None:
        """
        The address that a host sees is found for the first host that has one.
        """
        self.assertEqual(
            address_towards([("x" * 64, 1), ("127.0.0.1", 1)]), "127.0.0.1"
        )
        self.assertEqual(address_towards([("x" * 64, 1)]), "")


class MeetingPlaceTests(SynchronousTestCase):
    def test_after_a_kill(self) -> None:
        """
        A node that was killed leaves no folder of its game servers' user for long: its
        next run removes it.
        """
        state = Path(self.mktemp())
        state.mkdir()
        killed = meeting_place(state)
        (killed / "control.sock").touch()
        now = meeting_place(state)
        self.assertEqual((killed.exists(), now.exists()), (False, True))
        remove_meeting_place(state)
        remove_meeting_place(state)
        self.assertEqual((now.exists(), list(state.iterdir())), (False, []))
