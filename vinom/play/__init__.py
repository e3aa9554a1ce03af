"""
One game being played, purely.

`Play` calls the game and counts versions; `Room` adds seats, time and what happens when
players come and go; views are encoded once per audience; recordings replay to the same
states. Inputs and time go in, effects come out; there is no I/O, clock or chance here.
"""
