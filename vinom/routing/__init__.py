"""
Which back end serves a session: `rules`, and the `router` that follows them.

It knows nothing of connections. `routes` takes new rules whole or refuses them whole,
`sources` and `redis_source` read them; `health` knows which back ends may be used, and
`checks` asks them.
"""
