"""
HTTP as a server answers it, and WebSockets.

`front_door` separates the two; health, metrics and the names that a server has.
"""
