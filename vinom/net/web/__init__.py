"""
HTTP as a server answers it, and WebSockets.

`front_door` separates the two; `guards` knows the names that a server has.
"""
