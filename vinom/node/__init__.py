"""
One ``twistd vinom`` process.

Its settings and their sources, the services built from them, its ports, and how it
starts, reloads, drains and stops.
"""
