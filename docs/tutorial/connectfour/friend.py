"""Join a room of Connect Four, and play in it."""

import sys

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react

from vinom.client.sdk import connect


async def play(reactor, host, port, room_id):
    client = await connect(reactor, host, int(port), name="program")
    room = await client.join_room("connectfour", room_id)

    def move(room):
        if room.view["turn"] is None:
            room.leave()
        elif room.view["turn"] == room.seat:
            top = room.view["rows"][0]
            free = [column for column in range(7) if top[column] is None]
            room.act({"type": "drop", "column": free[len(free) // 2]})

    room.on_state(move)
    await room.closed
    print("winner: seat", room.view["winner"])
    client.close()


if __name__ == "__main__":
    react(lambda reactor, *to: ensureDeferred(play(reactor, *to)), sys.argv[1:])
