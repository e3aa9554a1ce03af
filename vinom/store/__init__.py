"""
The storage ports.

What nodes share: queue entries, players, matches. Memory for one node; the contract in
``tests/store`` holds for every implementation.
"""
