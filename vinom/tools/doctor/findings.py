"""Findings of ``vinom doctor``, and their summary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import attrs

Verdict = Literal["ok", "warning", "failure", "not checked"]


@attrs.frozen
class Finding:
    """
    One thing that was checked.

    :ivar message: what was found, one sentence.
    :ivar remedy: what to do about it, one sentence; ``None`` only if it is ok.
    """

    name: str
    verdict: Verdict
    message: str
    remedy: str | None = attrs.field(default=None)

    @remedy.validator
    def _check_remedy(self, _: object, remedy: str | None) -> None:
        if (remedy is None) != (self.verdict == "ok"):
            raise ValueError(
                f"{self.name}: {self.verdict!r} with remedy {remedy!r}: every verdict "
                "but ok must have one"
            )


@attrs.frozen
class Subject:
    """What some findings are about; *name* is theirs."""

    name: str

    def ok(self, message: str) -> Finding:
        """Nothing to do."""
        return Finding(self.name, "ok", message)

    def warning(self, message: str, remedy: str) -> Finding:
        """A node works, but not as well as it could, or not for long."""
        return Finding(self.name, "warning", message, remedy)

    def failure(self, message: str, remedy: str) -> Finding:
        """A node would not start, or players could not play."""
        return Finding(self.name, "failure", message, remedy)

    def refused(self, error: Exception, usual: str | None = None) -> Finding:
        """
        Make a failure of an error, whose message may end with the remedy.

        :param usual: the remedy of an error that has none after a semicolon; unless
            given, it is what follows the last colon.
        """
        message, _, remedy = str(error).partition("; ")
        if not remedy and usual is None:
            message, _, remedy = message.rpartition(": ")
        return self.failure(message, remedy or usual or "")

    def not_checked(self, message: str, remedy: str) -> Finding:
        """The result is unknown; the remedy is how to find out."""
        return Finding(self.name, "not checked", message, remedy)


def count_verdicts(findings: Sequence[Finding]) -> dict[Verdict, int]:
    """Count findings by verdict, every verdict included."""
    found = [one.verdict for one in findings]
    return {verdict: found.count(verdict) for verdict in get_args(Verdict)}


def summary(findings: Sequence[Finding]) -> str:
    """Count findings by verdict, in one line for people."""
    counts = count_verdicts(findings)

    def named(verdict: Verdict) -> str:
        return f"{counts[verdict]} {verdict}{'s' * (counts[verdict] != 1)}"

    return (
        f"{counts['ok']} ok, {named('warning')}, {named('failure')}, "
        f"{counts['not checked']} not checked"
    )
