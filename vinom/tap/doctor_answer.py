"""``vinom doctor --answer``: be asked by another machine."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from contextlib import suppress

from vinom.errors import Misconfigured
from vinom.rules.limits import TokenBucket
from vinom.tap.doctor_udp import never_fragment, open_game_port
from vinom.tap.settings import Settings
from vinom.wire.doctor import answer_to

#: Answers a second, and at once: whoever is answered in another's name gets no
#: more than this, and never more bytes than were asked with.
_RATE, _BURST = 50.0, 25.0
_LONGEST = 65535
#: As many askers are remembered, to be told of once each.
_MOST_ASKERS = 256


def answer(
    settings: Settings, seconds: float | None, say: Callable[[str], None]
) -> None:
    """
    Answer questions at a game port until time is over, or Ctrl-C.

    :param seconds: for how long; ``None`` is until Ctrl-C.
    :param say: gets what is to be printed.
    :raises Misconfigured: no game port is free.
    """
    bound = open_game_port(settings, settings.interface)
    if bound is None:
        first, last = settings.ports
        raise Misconfigured(
            f"no UDP port of {first}-{last} can be had at {settings.interface}: stop "
            "what has them, or set ports or interface to others"
        )
    bucket = TokenBucket(_RATE, _BURST)
    askers: set[str] = set()
    answered = refused = 0
    with bound, suppress(KeyboardInterrupt):
        never_fragment(bound, 6 if ":" in settings.interface else 4)
        host, port = settings.told_host, bound.getsockname()[1]
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        say(
            f"answering at {settings.interface} UDP {port}; on another machine: "
            f"vinom doctor --probe {target}"
        )
        ends = None if seconds is None else time.monotonic() + seconds
        while (left := None if ends is None else ends - time.monotonic()) is None or (
            left > 0
        ):
            if not select.select([bound], [], [], left)[0]:
                continue
            datagram, asker = bound.recvfrom(_LONGEST)
            told = answer_to(datagram)
            if told is None:
                continue
            if not bucket.take(time.monotonic()):
                refused += 1
                continue
            # A full buffer, or too long for the way back: the asker will notice.
            with suppress(OSError):
                bound.sendto(told, asker)
                answered += 1
            if asker[0] not in askers and len(askers) < _MOST_ASKERS:
                askers.add(asker[0])
                say(f"asked by {asker[0]}")
    say(f"{answered} questions answered, {refused} beyond the limit")
