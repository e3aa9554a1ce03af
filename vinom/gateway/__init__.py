"""
The gateway: one public port in front of nodes and other servers.

A connection comes in by the door of what it speaks (`listener`), and becomes a session
with a back end (`sessions`, `backends`).
"""
