"""
The storage ports over Redis, for any number of nodes.

Each step of a port is one Lua script of ``scripts/``; ``docs/reference/redis.rst`` has
the layout of the keys.
"""
