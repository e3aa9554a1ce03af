"""
``vinom check``.

Try a game before players do: purity, replay under two hash seeds, full games of random
actions, and views that reveal hidden information.
"""
