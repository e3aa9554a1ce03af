"""
The JSON messages to and from players.

msgspec structs for requests, pushes and failures. Decoding is validation, and an error
names the field. ``catalogue`` lists every message by its type on the wire; ``merge``
makes JSON merge patches of views; ``outside`` has the messages of outside
matchmakers.
"""
