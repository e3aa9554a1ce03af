"""
The games that ship, one game per file.

Each is registered under the entry point ``vinom.games``. They own nothing: states are
values. They may import `vinom.game`, `vinom.errors` and one another, as any author's.
"""
