"""
Settings of a program: a table, and the sources of its values.

The settings themselves are in `vinom.node.settings` and `vinom.gateway.settings`.
"""
