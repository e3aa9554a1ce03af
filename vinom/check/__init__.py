"""`vinom check`: try a game before players do."""
