"""
Conversations with players, over TCP or WebSocket.

``talk`` keeps the order of requests and answers, and ``conversation`` connects it to a
line. ``identity`` checks hellos; ``online`` lists the players who are connected, and
waits for those who are not.
"""
