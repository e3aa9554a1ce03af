"""
Keys and certificates.

``authority`` signs certificates of game servers and of the lobby, ``tokens`` keeps the
keys that sign connect tokens, ``files`` reads and writes them, and ``peers`` reads
whose certificate a peer has.
"""
