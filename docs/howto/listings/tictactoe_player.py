"""Play tic-tac-toe in a room, badly."""

import random
import sys

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react

from vinom.base.messages.rooms import AddBot
from vinom.client.sdk import LineLost, connect


async def play(reactor, host, port, room_id=None):
    try:
        client = await connect(reactor, host, int(port), name="player")
    except LineLost as error:
        sys.exit(str(error))
    room = await client.join_room("tictactoe", room_id)
    print("seat", room.seat, "of room", room.room_id)

    def move(room):
        board = room.view["board"]
        if room.view["turn"] is None:
            room.leave()
        elif room.view["turn"] == room.seat:
            cells = [(row, col) for row in range(3) for col in range(3)]
            row, col = random.choice([c for c in cells if board[c[0]][c[1]] is None])
            room.act({"type": "place", "row": row, "col": col})

    room.on_state(move)
    room.on_event(lambda kind, data: print(kind, data))
    if room_id is None:
        await client.rooms.ask(AddBot(room.room_id))
    result = await room.closed
    print(result.reason, "winner:", room.view["winner"])
    client.close()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(f"usage: {sys.argv[0]} HOST PORT")
    react(lambda reactor, *to: ensureDeferred(play(reactor, *to)), sys.argv[1:])
