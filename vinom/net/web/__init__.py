"""
HTTP as a server answers it, and WebSockets.

`front_door` separates the two; `monitoring`, and the names that a server has.
"""
