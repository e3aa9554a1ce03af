"""
Games of game servers, for players who are connected to the node.

`room` is a room that a game server plays; `service` has players' UDP at the node.
"""
