"""
The game server program.

It hosts matches, serves players' DTLS connections, and reports to its node over the
control link; ``rehearsal`` warms up what every forked child needs.
"""
