"""
What a node and its game servers say to each other.

MessagePack frames, the same over a UNIX socket and TCP, and the link that carries them:
whole, in order, sent at once.
"""
