"""
The bytes of sessions: alone on a connection, or those of many multiplexed on one.

`ends` is what both ends of a session are to each other; `byte_stream` has a connection
of its own; `packets`, `channels` and `multiplex` carry many on one connection, each
with its credit: between clients, gateways and nodes.
"""
