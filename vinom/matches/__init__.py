"""
Matches: planned, placed, ended.

From agreed players to a game server's address and connect tokens, until the end is
known to everybody.
"""
