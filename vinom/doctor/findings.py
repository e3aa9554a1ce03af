"""What ``vinom doctor`` says: findings, and what they come to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import attrs

Verdict = Literal["ok", "warning", "failure", "not checked"]


@attrs.frozen
class Finding:
    """
    One thing that was looked at.

    :ivar told: what was found, one sentence.
    :ivar remedy: what to do about it, one sentence; whatever is not ok has one.
    """

    name: str
    verdict: Verdict
    told: str
    remedy: str | None = attrs.field(default=None)

    @remedy.validator
    def _check_remedy(self, _: object, remedy: str | None) -> None:
        if (remedy is None) != (self.verdict == "ok"):
            raise ValueError(f"{self.name}: what is not ok, and nothing else, is cured")


def ok(name: str, told: str) -> Finding:
    """Nothing to do."""
    return Finding(name, "ok", told)


def warning(name: str, told: str, remedy: str) -> Finding:
    """A node works, but not as well as it could, or not for long."""
    return Finding(name, "warning", told, remedy)


def failure(name: str, told: str, remedy: str) -> Finding:
    """A node would not start, or players could not play."""
    return Finding(name, "failure", told, remedy)


def not_checked(name: str, told: str, remedy: str) -> Finding:
    """Nobody knows; the remedy is how to find out."""
    return Finding(name, "not checked", told, remedy)


def count_verdicts(findings: Iterable[Finding]) -> dict[Verdict, int]:
    """Count findings by verdict, every verdict included."""
    counts: dict[Verdict, int] = {
        "ok": 0,
        "warning": 0,
        "failure": 0,
        "not checked": 0,
    }
    for finding in findings:
        counts[finding.verdict] += 1
    return counts


def summary(findings: Iterable[Finding]) -> str:
    """Say in one line what they come to."""
    counts = count_verdicts(findings)
    warnings = (
        "1 warning" if counts["warning"] == 1 else f"{counts['warning']} warnings"
    )
    failures = (
        "1 failure" if counts["failure"] == 1 else f"{counts['failure']} failures"
    )
    unknown = counts["not checked"]
    return f"{counts['ok']} ok, {warnings}, {failures}, {unknown} not checked"
