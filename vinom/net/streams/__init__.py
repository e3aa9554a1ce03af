"""
The bytes of sessions: one on a connection, or many multiplexed on one.

`ends` defines the two ends of a session; `sockets` is a session with its own
connection; `packets`, `channels` and `multiplex` carry many sessions on one connection,
each with its credit: between clients, gateways and nodes.
"""
