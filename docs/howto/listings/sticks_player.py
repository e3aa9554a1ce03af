"""Play one match of nim, the game of examples/javascript."""

import sys

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import LoopingCall, react

from vinom.client.sdk import connect


async def play(reactor, name, port):
    client = await connect(reactor, "127.0.0.1", int(port), name=name)
    match = await client.queue("nim")

    def step():
        view = match.view
        if view and view["winner"] is None and view["turn"] == match.seat:
            match.act({"type": "take", "count": min(view["sticks"], 1 + match.seat)})

    match.on_refusal(lambda refusal: print("refused:", refusal.reason))
    playing = LoopingCall(step)
    playing.start(0.2)
    result = await match.ended
    playing.stop()
    client.close()
    print(name, result.reason, result.outcome and result.outcome["scores"])


if __name__ == "__main__":
    react(lambda reactor, *to: ensureDeferred(play(reactor, *to)), sys.argv[1:])
