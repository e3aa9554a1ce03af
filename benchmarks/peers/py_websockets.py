"""Room echo on websockets and asyncio: for comparison. ARGS: PORT."""

import asyncio
import json
import sys
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import broadcast, serve
from websockets.exceptions import ConnectionClosed

rooms: dict = {}


async def play(socket) -> None:
    asked = parse_qs(urlsplit(socket.request.path).query)
    number, slot = asked["room"][0], int(asked["slot"][0])
    room = rooms.get(number)
    if room is None:
        room = {"v": 0, "p": {seat: [0, 0] for seat in range(4)}, "c": set()}
        rooms[number] = room
    room["c"].add(socket)
    await socket.send(json.dumps({"joined": slot}))
    try:
        async for message in socket:
            said = json.loads(message)
            room["p"][slot] = [said["x"], said["y"]]
            room["v"] += 1
            state = {"v": room["v"], "s": slot, "q": said["q"], "p": room["p"]}
            broadcast(room["c"], json.dumps(state, separators=(",", ":")))
    except ConnectionClosed:
        pass
    finally:
        room["c"].discard(socket)
        if not room["c"]:
            rooms.pop(number, None)


async def main() -> None:
    where = "127.0.0.1", int(sys.argv[1])
    async with serve(play, *where, compression=None, backlog=1024):
        print("ready", flush=True)
        await asyncio.Future()


asyncio.run(main())
