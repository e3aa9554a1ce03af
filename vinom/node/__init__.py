"""
One ``twistd vinom`` process, wired.

Settings and their sources, what is built from them, where it listens, how it starts,
reloads, drains and stops.
"""
