"""
Limits for peers.

Token buckets for peers and networks, the origins that a page may come from and the
names of the server, log lines that strangers cause (`logged`, the only one with a
clock), the detection of floods (pressure), and of a process that has too much to do
(overload). The rest is without I/O or a clock: times are arguments.
"""
