"""One player's line, whatever carries it."""
