"""
Which back end serves a session: `rules`, and the `router` that applies them.

It knows nothing of connections. `routes` accepts or refuses each new set of rules as a
whole, `sources` and `redis_source` read them; `health` records which back ends can be
used, and `checks` checks them.
"""
