"""
One game being played, without I/O, a clock or randomness of its own.

`Play` calls the game and counts versions; `Room` adds seats and time, and handles
players who come and go; views are encoded once per audience; recordings replay to the
same states. Inputs and time go in, effects come out.
"""
