"""
Keys and certificates.

``authority`` signs certificates of game servers and of the lobby, ``tokens`` keeps the
keys that sign connect tokens, and ``files`` reads and writes them.
"""
