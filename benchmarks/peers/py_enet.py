"""Room echo on pyenet, unencrypted, for comparison. ARGS: PORT."""

import json
import sys

import enet

RELIABLE = enet.PACKET_FLAG_RELIABLE
host = enet.Host(enet.Address(b"127.0.0.1", int(sys.argv[1])), 4095, 1, 0, 0)
print("ready", flush=True)
seats: dict = {}
rooms: dict = {}
while True:
    event = host.service(1000)
    if event.type == enet.EVENT_TYPE_RECEIVE:
        peer = event.peer
        key = peer.incomingPeerID
        said = json.loads(event.packet.data)
        seat = seats.get(key)
        if seat is None:
            room = rooms.get(said["room"])
            if room is None:
                room = {"v": 0, "p": {n: [0, 0] for n in range(4)}, "c": {}}
                rooms[said["room"]] = room
            room["c"][key] = peer
            seats[key] = (said["slot"], room)
            peer.send(0, enet.Packet(b'{"joined":1}', RELIABLE))
            continue
        slot, room = seat
        room["p"][slot] = [said["x"], said["y"]]
        room["v"] += 1
        state = {"v": room["v"], "s": slot, "q": said["q"], "p": room["p"]}
        text = json.dumps(state, separators=(",", ":")).encode()
        packet = enet.Packet(text, RELIABLE)
        for other in room["c"].values():
            other.send(0, packet)
    elif event.type == enet.EVENT_TYPE_DISCONNECT:
        seat = seats.pop(event.peer.incomingPeerID, None)
        if seat is not None:
            seat[1]["c"].pop(event.peer.incomingPeerID, None)
