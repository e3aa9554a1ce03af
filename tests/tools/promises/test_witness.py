"""What one client notes, and what it finds by itself."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vinom.net.packets.player import ActionRefused, Joined, StateArrived
from vinom.tools.promises.witness import Witness


def state(version: int, acked: int = 0, view: bytes = b"") -> StateArrived:
    """Make a state; its view is that of its version unless given."""
    return StateArrived(version, version / 10, view or b"%d" % version, acked)


class WitnessTests(SynchronousTestCase):
    """One seat of one match."""

    def setUp(self) -> None:
        self.witness = Witness("m1", "ann", 2)

    def found(self) -> list[str]:
        """List the promises that were broken."""
        return [one.promise for one in self.witness.broken]

    def test_nothing_wrong(self) -> None:
        """
        States that rise, repeat and leave some out, and a seat that is taken back.
        """
        joined = Joined(2, b"", b"setup", (), "m1", "maze", 0)
        for event in (joined, state(1), state(4), joined, state(4), state(9)):
            self.witness.took(event)
        self.assertEqual(self.found(), [])
        self.assertEqual((self.witness.joins, self.witness.version), (2, 9))
        self.assertEqual(sorted(self.witness.seen), [1, 4, 9])

    def test_version_goes_back(self) -> None:
        """
        A state that is older than one that was seen breaks a promise.
        """
        self.witness.took(state(7))
        self.witness.took(state(6))
        self.assertEqual(self.found(), ["versions"])
        self.assertIn("version 6 came after 7", str(self.witness.broken[0]))

    def test_another_view(self) -> None:
        """
        A version that is shown again must look the same.
        """
        self.witness.took(state(7))
        self.witness.took(state(7, view=b"other"))
        self.assertEqual(self.found(), ["states"])

    def test_another_seat_or_setup(self) -> None:
        """
        A player who comes back has the same seat in the same game.
        """
        self.witness.took(Joined(2, b"", b"one", (), "m1", "maze", 0))
        self.witness.took(Joined(1, b"", b"one", (), "m1", "maze", 0))
        self.witness.took(Joined(2, b"", b"two", (), "m1", "maze", 0))
        self.assertEqual(self.found(), ["states", "states"])

    def test_fates(self) -> None:
        """
        Inputs are acknowledged by states and refused by messages, in either order.
        """
        for number in range(1, 6):
            self.witness.acted(number, b"x")
        self.witness.acted(0, b"not sent")
        self.witness.took(ActionRefused(2, "rejected", "", ""))
        self.witness.took(state(3, acked=4))
        self.witness.took(ActionRefused(3, "rejected", "", ""))
        fates = [one.fate for one in self.witness.sent]
        expected = ["acknowledged", "refused", "refused", "acknowledged", "open"]
        self.assertEqual(fates, expected)
        self.assertEqual(self.found(), [])

    def test_number_again(self) -> None:
        """
        A server that was killed expects the numbers again that it never received; one
        that it has acknowledged is lost then.
        """
        for number in (1, 2, 3):
            self.witness.acted(number, b"old")
        self.witness.took(state(3, acked=1))
        self.witness.acted(2, b"new")
        self.assertEqual([one.action for one in self.witness.sent], [b"old", b"new"])
        self.assertEqual(self.found(), [])
        self.witness.took(state(4, acked=2))
        self.assertEqual(self.witness.sent[1].fate, "acknowledged")
        self.witness.acted(1, b"newer")
        self.assertEqual(self.found(), ["inputs", "inputs"])

    def test_acknowledgement_goes_back(self) -> None:
        """
        A state that acknowledges less than an earlier one did breaks a promise.
        """
        self.witness.acted(1, b"x")
        self.witness.took(state(3, acked=1))
        self.witness.took(state(4, acked=0))
        self.assertEqual(self.found(), ["inputs"])
