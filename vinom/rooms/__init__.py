"""
Rooms that the node hosts for players over WebSocket.

Members, what they are shown and what they missed, resumption after a lost connection,
lists, and rooms that are played in a game process (relay).
"""
