"""
The JSON messages to and from players.

Structs of msgspec, by request, push and failure; decoding is validation, and an error
names the field. ``catalogue`` lists every message by its type on the wire; ``merge``
makes JSON merge patches of views; ``outside`` has what match makers outside exchange
with us.
"""
