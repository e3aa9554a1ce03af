"""
One game being played, without I/O, a clock or randomness of its own.

`Play` calls the game and counts versions; `Room` adds seats and time, and handles
players who come and go; views are encoded once per audience; recordings replay to the
same states. Inputs and time go in, effects come out. ``hosting`` gives a room its
outlets, its checkpoints and a recording on disk; `game_loader` finds games. It owns the
state of a game. It may import the store's interfaces and the base.
"""
