"""
Game servers as processes on this machine: a fork server makes them, the node watches.

docs/architecture.rst describes the packages.
"""
