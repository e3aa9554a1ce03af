"""What players notice of attacks: their p99 with and without each attack."""

from __future__ import annotations

import contextlib
import json
import select
import signal
import subprocess
import sys
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import IO, Any

import attrs

from benchmarks.figures import Figure, Size
from benchmarks.machine import LOAD_CORE, Failed, build, pinned
from benchmarks.node import SEATS, Match, Node
from benchmarks.play import DENSE
from vinom.base.tokens import Claims
from vinom.net.keys.tokens import CLOCK_SKEW, TokenKeyring

#: Players, and inputs per second of each.
BOTS, INPUTS = 200, 10
#: Highest ratio of p99 with the attack to p99 without it.
BAR = 2.0
#: How long an attack runs before it is measured, and how long to wait for its end.
_SETTLE = 0.5
#: Least number of lobby lines that a running attack on the lobby has open.
_FEWEST_LINES = 10
#: How long it may take until these are open, or all attacks are counted, seconds.
_PATIENCE = 30.0

Say = Callable[[str], None]


@attrs.frozen
class Attack:
    """
    One attack.

    :ivar by: "junkload", "knock" (handshakes with a ticket, then an invalid token),
        "replay" (datagrams of the players, again) or "lines".
    :ivar kind: that program's name for it.
    :ivar rate: attacks per second, of all sources.
    :ivar networks: number of sources, each with its own budget.
    """

    name: str
    by: str
    kind: str
    rate: int
    networks: int = 200


ATTACKS = (
    # First those that need valid tickets.
    Attack("cookie, a player's ticket", "junkload", "observed", 1_000, 64),
    Attack("failing handshakes, a player's ticket", "junkload", "corrupt", 1_000, 64),
    Attack(
        "handshake messages of 98 kB, a player's ticket",
        "junkload",
        "announced",
        1_000,
        64,
    ),
    Attack("handshakes and forged tokens", "knock", "forged", 100),
    Attack("handshakes and expired tokens", "knock", "expired", 100),
    Attack("handshakes and used tokens", "knock", "used", 100),
    Attack("handshakes and tokens of other matches", "knock", "foreign", 100),
    Attack("junk", "junkload", "junk", 20_000),
    Attack("records of strangers", "junkload", "data", 20_000),
    Attack("truncated hellos", "junkload", "short", 5_000),
    Attack("oversized hellos", "junkload", "long", 5_000),
    Attack("fragmented hellos", "junkload", "fragment", 5_000),
    Attack("hellos without cookie", "junkload", "hello", 5_000),
    Attack("the same from one network", "junkload", "hello", 5_000, 1),
    Attack("cookies of other addresses", "junkload", "borrowed", 5_000),
    Attack("cookie, unknown ticket", "junkload", "ticket", 5_000),
    Attack("replayed records of players", "replay", "", 5_000),
    Attack("silent lobby lines", "lines", "silent", 50),
    Attack("lobby lines of one byte per second", "lines", "slow", 50),
    Attack("malformed lobby messages", "lines", "malformed", 500),
    Attack("cookie, expired ticket", "junkload", "expired", 5_000),
)


class Watch:
    """Players on a node, and how long their inputs take."""

    def __init__(self, udpload: Path, node: Node, matches: list[Match]) -> None:
        rate = len(matches) * SEATS * INPUTS
        seats = node.write_seats(matches)
        command = [udpload, seats, node.server_of(matches[0]), "watch", 0, 0, rate]
        self._process = subprocess.Popen(
            pinned(LOAD_CORE, [str(word) for word in command]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._ask: IO[str] = self._process.stdin
        self._told: IO[str] = self._process.stdout
        self._hear("joined")

    def _hear(self, what: str) -> str:
        ready, _, _ = select.select([self._told], [], [], 90)
        line = self._told.readline() if ready else ""
        if not line:
            self._process.kill()
            raise Failed(f"the players have ended; expected: {what}")
        return line

    def mark(self, replays: int = 0) -> dict[str, Any]:
        """Return the figures since the last call."""
        print(f"mark {replays}", file=self._ask, flush=True)
        result: dict[str, Any] = json.loads(self._hear("a window"))
        if result["wrong"] or result["rejected"]:
            raise Failed(f"players received what they should not: {result}")
        return result

    def window(self, seconds: float, replays: int = 0) -> dict[str, Any]:
        """Measure for this many seconds."""
        self.mark(replays)
        time.sleep(seconds)
        return answered(self.mark(), seconds)

    def close(self) -> None:
        """Let the players leave."""
        self._ask.close()
        if self._process.wait(10):
            raise Failed("players received what they should not")


def answered(result: dict[str, Any], seconds: float) -> dict[str, Any]:
    """
    Set the p99 of a window in which no input was answered.

    Each input took longer than the window: a server that stands still is not fast.
    """
    return result if result["done_s"] else result | {"p99_us": seconds * 1e6}


def with_tokens(seats: Path, path: Path, other: Callable[[str], str]) -> Path:
    """Write the same players' seats with other tokens to *path*."""
    with path.open("w") as file:
        for line in seats.read_text().splitlines():
            *words, token = line.split()
            print(*words, other(token), file=file)
    return path


def forged(token: str) -> str:
    """Change the signature of a token."""
    end = "A" if token[-10] != "A" else "B"
    return token[:-10] + end + token[-9:]


def expired(node: Node) -> Callable[[str], str]:
    """Return a function from a token to the same one, signed long ago."""
    now = time.time()
    keys = TokenKeyring.open(node.state_dir / "authority" / "tokens", now)

    def other(token: str) -> str:
        payload = token.split(".")[1]
        said = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        names = said["iss"], said["match"], said["sub"], said["seat"]
        return keys.sign(Claims(*names, now - 2 * CLOCK_SKEW, said["jti"]))

    return other


def foreign(seats: Path) -> Callable[[str], str]:
    """Return a function from a player's token to one of a player of another match."""
    tokens = [line.split()[-1] for line in seats.read_text().splitlines()]
    others = dict(zip(tokens, tokens[SEATS:] + tokens[:SEATS], strict=True))
    return others.__getitem__


def _spoiler(kind: str, node: Node, seats: Path) -> Callable[[str], str]:
    """Choose what an attack with tokens makes of a player's token."""
    if kind == "forged":
        return forged
    if kind == "expired":
        return expired(node)
    return foreign(seats) if kind == "foreign" else str


@contextlib.contextmanager
def running(
    attack: Attack, node: Node, matches: list[Match], folder: Path
) -> Iterator[None]:
    """Attack, until the end of the ``with``."""
    if attack.by == "replay":
        yield
        return
    match = matches[0]
    seat = match.seats[0]
    pid = node.server_of(match)
    command: list[object]
    if attack.by == "junkload":
        name = seat["server_name"]
        kind = attack.kind
        if kind in ("observed", "expired"):
            kind = "ticket"
        elif kind not in ("corrupt", "announced"):
            ticket, _, rest = name.partition(".")
            name = f"{'a' * len(ticket)}.{rest}"
        program = folder / "junkload"
        where = seat["host"], match.port, name, pid
        command = [program, *where, kind, 600, attack.rate, attack.networks]
    elif attack.by == "knock":
        seats = node.write_seats(matches)
        spoil = _spoiler(attack.kind, node, seats)
        bad = with_tokens(seats, folder / "spoilt", spoil)
        command = [folder / "udpload", bad, pid, "knock", 0, 600, attack.rate]
    else:
        program = Path(__file__).with_name("badlines.py")
        command = [sys.executable, program, node.port, attack.kind, attack.rate]
    before = node.descriptors
    with (folder / "attack.log").open("w+") as log:
        process = subprocess.Popen(
            pinned(LOAD_CORE, [str(word) for word in command]),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None
        try:
            if attack.by == "junkload":
                # It begins when all its sources have cookies.
                select.select([process.stdout], [], [], 30)
            time.sleep(_SETTLE)
            yield
            give_up = time.monotonic() + _PATIENCE
            while attack.by == "lines" and node.descriptors < before + _FEWEST_LINES:
                if time.monotonic() > give_up:
                    raise Failed(f"{attack.name}: the lobby has too few of its lines")
                time.sleep(0.05)
            if process.poll() is not None:
                log.seek(0)
                raise Failed(f"{attack.name} ended early: {log.read().strip()[-300:]}")
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
    time.sleep(_SETTLE)


#: What a game server must have counted after all attacks.
_COUNTED = (
    "admission_junk",
    "admission_bad_cookie",
    "admission_bad_hello",
    "admission_cookie_asked",
    "admission_unknown_ticket",
    "admission_expired_ticket",
    "admission_too_many_hellos",
    "dropped_unreadable",
    "dropped_not_of_a_client",
    "handshake_begun",
    "joins_bad_token",
    "joins_token_expired",
    "joins_token_used",
    "joins_wrong_match",
)


def _ensure_heard(node: Node, match: Match) -> None:
    """
    Check that the game server noticed each kind of attack.

    :raises Failed: it did not count one of them.
    """
    give_up = time.monotonic() + _PATIENCE
    while True:
        # Figures arrive once per second, on a busy machine later.
        time.sleep(1.0)
        servers = node.status()["fleet"]["game_servers"].values()
        ours = [one for one in servers if match.match_id in one["matches"]]
        if not ours:
            raise Failed("the game server is gone")
        missed = [name for name in _COUNTED if not ours[0]["figures"].get(name)]
        if not missed:
            return
        if time.monotonic() > give_up:
            raise Failed(f"nothing was counted as {', '.join(missed)}")


def attacks(size: Size, folder: Path, say: Say) -> list[Figure]:
    """200 bots play while each attack runs; windows with and without alternate."""
    udpload = build("udpload", folder, "ssl", "crypto")
    build("junkload", folder, "ssl", "crypto")
    seconds = size.seconds(2.0)
    figures = []
    # Budgets as they are for everybody, but that all bots may come at once; a flood in
    # one name is the players' too.
    life = size.seconds(180.0, least=20.0)
    limits = "--handshake-rate=20", f"--token-seconds={life}"
    with Node(*DENSE, *limits) as node:
        # Tokens of another match need another match.
        matches = [
            node.start_match() for _ in range(size.count(BOTS, 2 * SEATS) // SEATS)
        ]
        past = time.monotonic() + life + CLOCK_SKEW
        watch = Watch(udpload, node, matches)
        watch.window(_SETTLE)
        for attack in ATTACKS:
            say(f"attacks: {attack.name}, {attack.rate:,}/s")
            if attack.by == "junkload" and attack.kind == "expired":
                time.sleep(max(0.0, past - time.monotonic()))
            calm, attacked = [], []
            for _ in range(max(1, size.runs)):
                calm.append(watch.window(seconds))
                with running(attack, node, matches, folder):
                    replays = attack.rate if attack.by == "replay" else 0
                    attacked.append(watch.window(seconds, replays))
            quiet = median(one["p99_us"] for one in calm)
            ratios = tuple(one["p99_us"] / max(quiet, 1) for one in attacked)
            detail = {
                "rate": attack.rate,
                "calm_p99_us": [one["p99_us"] for one in calm],
                "attacked_p99_us": [one["p99_us"] for one in attacked],
                "attacked_max_us": max(one["max_us"] for one in attacked),
                "done_s": [one["done_s"] for one in attacked],
            }
            name = f"{attack.name}, {attack.rate:,}/s"
            figures.append(Figure(name, "times", ratios, BAR, detail=detail))
        watch.close()
        _ensure_heard(node, matches[0])
    return figures
