"""
The numbers that close frames carry, for each reason to close.

Source: RFC 6455, 7.4; docs/protocol/websocket.rst, section "Close codes".
"""

from __future__ import annotations

from vinom.errors import Code

#: Nothing is left to say.
NORMAL = 1000
#: Any code that has no number of its own: the reason begins with it.
OTHER = 4000

#: Numbers from 4000 on are ours (RFC 6455, 7.4.2).
NUMBERS = {
    Code.SHUTDOWN: 1001,
    Code.INTERNAL: 1011,
    Code.REPLACED: 4001,
    Code.TIMEOUT: 4002,
    Code.KICKED: 4003,
    Code.TOO_SLOW: 4008,
    Code.RATE_LIMITED: 4029,
}


def farewell(code: Code | None, reason: str) -> tuple[int, str]:
    """
    Find what a close frame says.

    :returns: its number, and its reason: the code, and the same in words.
    """
    if code is None:
        return NORMAL, reason
    return NUMBERS.get(code, OTHER), f"{code.value}: {reason}" if reason else code.value
