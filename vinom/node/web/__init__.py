"""
HTTP of a node.

The page and its scripts, the admin API, and the table of metrics.
"""
