"""``vinom doctor``: check this machine for problems, and say how to fix them."""

from __future__ import annotations

import argparse
import os
import shutil
import textwrap
from typing import Any

import attrs

from vinom.base.printable import say, say_json
from vinom.base.settings.sources import checked_path
from vinom.base.settings.values import Switch
from vinom.errors import Misconfigured
from vinom.node.settings import TABLE, Settings, gather
from vinom.tools.doctor.examination import examine
from vinom.tools.doctor.findings import Finding, count_verdicts, summary
from vinom.tools.doctor.gateway import examine_gateway
from vinom.tools.doctor.network import answer, probe

_EPILOG = """\
It also takes every option of twistd vinom (twistd vinom --help), its file (--config)
and its VINOM_* variables: configure it like the node. Run it as the node's user, before
the node starts or while it runs; it changes nothing.

Can players reach the game ports? Test it from another machine:
  server$  vinom doctor --answer --config /etc/vinom.toml
  player$  vinom doctor --probe play.example.org:46063

Exit code: 0 if nothing fails, 1 if something does, 2 if an argument is invalid.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    # Otherwise an unknown option could pass as the abbreviation of a setting.
    parser.allow_abbrev = False
    parser.add_argument(
        "--answer",
        action="store_true",
        help="only answer probes, at the last free game port, until Ctrl-C",
    )
    parser.add_argument(
        "--for",
        dest="seconds",
        metavar="SECONDS",
        type=float,
        help="with --answer: stop after this many seconds",
    )
    parser.add_argument(
        "--probe",
        metavar="HOST:PORT",
        help="only probe a machine where vinom doctor --answer runs",
    )
    parser.add_argument(
        "--gateway",
        metavar="PATH",
        help="only examine the gateway with this TOML file, and VINOM_GATEWAY_*",
    )
    parser.add_argument("--json", action="store_true", help="print findings as JSON")
    parser.add_argument(
        "--config", metavar="PATH", help="read the node's settings from this TOML file"
    )
    for row in TABLE:
        how: dict[str, Any] = {"metavar": row.kind.metavar}
        if isinstance(row.kind, Switch):
            how = {"action": "store_true", "default": None}
        elif row.many:
            how["action"] = "append"
        parser.add_argument(
            f"--{row.flag}", dest=f"set_{row.name}", help=argparse.SUPPRESS, **how
        )


def run(options: argparse.Namespace) -> int:
    """
    Check, and print the findings.

    :returns: exit code: 1 if something fails.
    :raises Misconfigured: a setting or an option is invalid.
    """
    if options.answer and options.probe:
        raise Misconfigured("give --answer on one machine and --probe on the other")
    if options.seconds is not None and not (options.answer and options.seconds > 0):
        raise Misconfigured("--for must be more than 0 seconds, and needs --answer")
    if options.probe:
        return _show(probe(options.probe, os.urandom), options.json)
    if options.gateway:
        path = checked_path("--gateway", options.gateway)
        return _show(examine_gateway(path, os.environ), options.json)
    settings = _settings(options)
    if options.answer:
        answer(settings, options.seconds, lambda line: say(line, flush=True))
        return 0
    return _show(examine(settings), options.json)


def _settings(options: argparse.Namespace) -> Settings:
    """Read the settings as the node would."""
    given = {
        row.name: value
        for row in TABLE
        if (value := getattr(options, f"set_{row.name}")) is not None
    }
    path = None if options.config is None else checked_path("--config", options.config)
    return gather(given, os.environ, path)


def _show(findings: list[Finding], as_json: bool) -> int:
    """Print findings; returns the exit code."""
    counts = count_verdicts(findings)
    if as_json:
        report = {"findings": [attrs.asdict(one) for one in findings], "counts": counts}
        say_json(report, indent=2)
    else:
        say(in_lines(findings, shutil.get_terminal_size().columns))
    return 1 if counts["failure"] else 0


def in_lines(findings: list[Finding], columns: int) -> str:
    """Write findings for people: verdict, name, sentence; below it the remedy."""
    verdicts = max(len(one.verdict) for one in findings)
    names = max(len(one.name) for one in findings)
    indent = " " * (verdicts + names + 4)
    width = max(columns, len(indent) + 40)
    lines = []
    for one in findings:
        head = f"{one.verdict.ljust(verdicts)}  {one.name.ljust(names)}  "
        lines += _wrapped(head, indent, one.message, width)
        if one.remedy is not None:
            lines += _wrapped(f"{indent}-> ", f"{indent}   ", one.remedy, width)
    return "\n".join([*lines, "", summary(findings)])


def _wrapped(first: str, rest: str, text: str, width: int) -> list[str]:
    # Commands and addresses must stay whole, to be copied.
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
