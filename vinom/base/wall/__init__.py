"""
The wall around a game process: what the kernel refuses to it.

Whoever takes over a game server, by a mistake of a game or of a parser, is to find
nothing there but the match: no key, no socket, no other process.
`vinom.base.wall.enclosure` says in which order the walls go up (decision 0035). Without
Twisted, and imported before the fork.
"""
