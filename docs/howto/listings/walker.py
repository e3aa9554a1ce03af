"""Play one match of the maze, badly."""

import random
import sys

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import LoopingCall, react

from vinom.client.sdk import LineLost, connect


async def play(reactor, host, port):
    try:
        client = await connect(reactor, host, int(port), name="walker")
    except LineLost as error:
        sys.exit(str(error))
    match = await client.queue("maze")
    print("seat", match.seat, "of", ", ".join(match.names))

    def step():
        if match.view is not None and not match.view["over"]:
            direction = random.choice(["up", "right", "down", "left"])
            here = match.view["at"][match.seat]
            match.act({"type": "move", "direction": direction, "from": here})

    match.on_event(lambda kind, data: print(kind, data))
    match.on_refusal(lambda refusal: print("refused:", refusal.reason))
    walking = LoopingCall(step)
    walking.start(0.1)
    result = await match.ended
    walking.stop()
    client.close()
    print(result.reason, result.outcome and result.outcome["scores"])


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(f"usage: {sys.argv[0]} HOST PORT")
    react(lambda reactor, *to: ensureDeferred(play(reactor, *to)), sys.argv[1:])
