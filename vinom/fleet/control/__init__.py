"""
The messages between a node and its game servers.

MessagePack frames, the same over a UNIX socket and TLS, and the link that carries them:
whole, in order, sent at once.
"""
