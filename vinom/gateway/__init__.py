"""
The gateway: one public port in front of nodes and other servers.

Each connection is given to the door for its protocol (`listener`), and becomes a
session with a back end (`sessions`, `backends`).
"""
