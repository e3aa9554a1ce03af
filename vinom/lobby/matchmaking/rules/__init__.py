"""
Who plays with whom: rules, which are plug-ins.

A rule is a class that inherits `rule.Rule`; its name is an entry point of the group
``vinom.rules``. `fifo`, `rating` and `buckets` are ours.
"""
