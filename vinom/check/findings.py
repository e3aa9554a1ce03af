"""What a check finds in a game, and what it notes."""

from __future__ import annotations

import attrs


@attrs.frozen
class Finding:
    """
    One thing that the author must change.

    :ivar rule: "state", "pure", "fault", "ends", "left", "setup", "tick", "replay",
        "leak" or "hash_seed".
    :ivar message: what is wrong, for the author.
    :ivar when: the time in the trial; not part of the finding's identity.
    """

    rule: str
    message: str
    when: str = attrs.field(default="", eq=False)


@attrs.define
class Trial:
    """
    The result of one game with random actions.

    :ivar findings: what the author must change.
    :ivar notes: things worth knowing that aren't mistakes.
    :ivar trace: one line per step, with the state's hash.
    :ivar options: the options it was played with, JSON.
    :ivar is_cut: did its time end before it did?
    """

    findings: list[Finding] = attrs.field(factory=list)
    notes: list[str] = attrs.field(factory=list)
    trace: list[str] = attrs.field(factory=list)
    options: str = "{}"
    is_cut: bool = False

    def found(self, rule: str, message: str, when: str = "") -> None:
        """Add a finding, unless it is there already."""
        finding = Finding(rule, message, when)
        if finding not in self.findings:
            self.findings.append(finding)

    def note(self, message: str) -> None:
        """Add a note, unless it is there already."""
        if message not in self.notes:
            self.notes.append(message)
