"""
Game servers as processes of this machine: a fork server makes them, the node watches.

What this package is, and which room a thing belongs to: docs/architecture.rst.
"""
