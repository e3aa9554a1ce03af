"""Play one match of Connect Four against anybody who queues."""

import sys
from pathlib import Path

from connectfour import ConnectFour
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react

from vinom.client.sdk import LineLost, LobbyRefusal, MatchLost, connect
from vinom.game import Chance


async def play(reactor, host, port, authority=None):
    tls = Path(authority).read_bytes() if authority else None
    try:
        client = await connect(reactor, host, int(port), name="Python", tls=tls)
        match = await client.queue("connectfour")
    except (LineLost, LobbyRefusal, MatchLost) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print("seat", match.seat, "of", ", ".join(match.names))
    game, chance = ConnectFour(), Chance(7)
    answered = None

    def step(match):
        nonlocal answered
        if match.version == answered:
            return
        action = game.bot(match.view, match.seat, chance, match.setup)
        if action is not None:
            answered = match.version
            reactor.callLater(0.4, match.act, action)

    def happened(kind, data):
        print(kind, data)
        if kind == "ended":
            reactor.callLater(2.0, match.leave)

    match.on_state(step)
    match.on_event(happened)
    match.on_refusal(lambda refusal: print("refused:", refusal.message))
    result = await match.ended
    print("ended:", result.reason, result.outcome)
    client.close()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(f"usage: {sys.argv[0]} HOST PORT [CA.pem]")
    react(lambda reactor, *to: ensureDeferred(play(reactor, *to)), sys.argv[1:])
