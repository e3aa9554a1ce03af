"""The player's side: SDK, terminal client, bots."""
