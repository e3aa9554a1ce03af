"""
The games that ship, one game per file.

Each is registered under the entry point ``vinom.games``. A game imports only
`vinom.game`, `vinom.errors`, and modules of this package.
"""
