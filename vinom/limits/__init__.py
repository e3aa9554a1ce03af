"""
Limits for peers.

Token buckets for peers and networks, the origins that a page may come from, the
detection of floods (pressure), and of a process that has too much to do (overload).
Without I/O or a clock: times are arguments.
"""
