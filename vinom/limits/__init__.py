"""
What each peer may do, and how much.

Token buckets for peers and networks, the origins that a page may come from, how floods
show (pressure) and when a process has more to do than it can (overload). Pure: times
are arguments.
"""
