"""Findings of ``vinom doctor``, and their summary."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import attrs

Verdict = Literal["ok", "warning", "failure", "not checked"]


@attrs.frozen
class Finding:
    """
    One thing that was checked.

    :ivar told: what was found, one sentence.
    :ivar remedy: what to do about it, one sentence; ``None`` only if it is ok.
    """

    name: str
    verdict: Verdict
    told: str
    remedy: str | None = attrs.field(default=None)

    @remedy.validator
    def _check_remedy(self, _: object, remedy: str | None) -> None:
        if (remedy is None) != (self.verdict == "ok"):
            raise ValueError(
                f"{self.name}: {self.verdict!r} with remedy {remedy!r}: every verdict "
                "but ok must have one"
            )


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
    """The result is unknown; the remedy is how to find out."""
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
    """Count findings by verdict, in one line for people."""
    counts = count_verdicts(findings)
    warnings = (
        "1 warning" if counts["warning"] == 1 else f"{counts['warning']} warnings"
    )
    failures = (
        "1 failure" if counts["failure"] == 1 else f"{counts['failure']} failures"
    )
    unknown = counts["not checked"]
    return f"{counts['ok']} ok, {warnings}, {failures}, {unknown} not checked"
