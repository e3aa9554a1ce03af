"""
Which back end serves a session: `rules`, and the `router` that applies them.

It knows nothing of connections. `sources` reads rules, and accepts or refuses each new
set as a whole; `health` records which back ends can be used.
"""
