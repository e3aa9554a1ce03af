"""What a check finds in a game, and what it notes."""

from __future__ import annotations

from msgspec import Struct


class Finding(Struct, frozen=True):
    """
    One thing that the author must change.

    :ivar rule: "state", "pure", "fault", "ends", "left", "setup", "tick", "replay",
        "leak" or "hash_seed".
    :ivar message: what is wrong, for the author.
    :ivar when: the time in the trial, and what plays it again.
    """

    rule: str
    message: str
    when: str = ""


class Trial(Struct):
    """
    The result of one game with random actions.

    :ivar findings: what the author must change.
    :ivar notes: things worth knowing that aren't mistakes.
    :ivar trace: one line per step, with the state's hash.
    :ivar steps: how many there were.
    :ivar options: the options it was played with, JSON.
    :ivar is_cut: did its time end before it did?
    :ivar seen: rows of the table of secrets.
    """

    findings: list[Finding] = []
    notes: list[str] = []
    trace: list[str] = []
    steps: int = 0
    options: str = "{}"
    is_cut: bool = False
    seen: list[tuple[str, ...]] = []

    def found(self, rule: str, message: str, when: str = "") -> None:
        """Add a finding, unless it is there already."""
        if (rule, message) not in [(one.rule, one.message) for one in self.findings]:
            self.findings.append(Finding(rule, message, when))

    def note(self, message: str) -> None:
        """Add a note, unless it is there already."""
        if message not in self.notes:
            self.notes.append(message)
