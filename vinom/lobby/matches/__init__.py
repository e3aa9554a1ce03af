"""
Matches: planned, placed, ended.

Each match goes from its players to a game server's address and connect tokens, and
stays here until all players have been sent its end.
"""
