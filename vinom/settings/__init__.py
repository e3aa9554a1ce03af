"""
Settings of a program: a table, and the sources that its values come from.

The settings themselves are of `vinom.node.settings` and `vinom.gateway.settings`.
"""
