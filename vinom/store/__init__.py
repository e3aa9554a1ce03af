"""
The storage ports.

Nodes share queue entries, players and matches. ``memory`` keeps them for one node; the
contract in ``tests/store`` holds for every implementation.
"""
