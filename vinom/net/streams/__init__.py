"""
The bytes of sessions: one on a connection, or many multiplexed on one.

`sockets` is a session with its own connection; `channels` defines the two ends of a
session, and with `packets` and `multiplex` carries many sessions on one connection,
each with its credit: between clients, gateways and nodes.
"""
