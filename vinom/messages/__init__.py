"""The JSON messages to and from players, and to and from match makers outside."""
