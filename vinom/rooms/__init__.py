"""
Rooms that the node hosts for players over WebSocket.

Members, what they are shown and what they missed, resumption after a lost connection,
and lists. It owns the rooms of this node and their members. It may import the lobby and
all below.
"""
