"""
The games that ship, one game per file.

Each registers under the entry point ``vinom.games``; a game imports `vinom.game` and
nothing else of ours.
"""
