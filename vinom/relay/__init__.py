"""Players' UDP at the node: one port for the players of all game servers."""
