"""
One player's connection, whatever carries it.

The order of requests and answers (``talk``), who the player is (``identity``), and
which connection a player has now.
"""
