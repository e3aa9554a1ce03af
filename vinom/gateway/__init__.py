"""
The gateway: one public port in front of nodes and other servers.

Each connection is given to the acceptor for its protocol (`listener`), and becomes a
session with a back end (`sessions`, `backends`); ``routing`` chooses that back end. It
owns sessions, and which back ends are healthy. It may import the network, the store,
the base, and of the lobby what checks who somebody is.
"""
