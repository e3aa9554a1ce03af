"""
The game server program.

It hosts matches, serves players' DTLS connections, and reports to its node over the
control link; ``rehearsal`` warms what every forked child will need.
"""
