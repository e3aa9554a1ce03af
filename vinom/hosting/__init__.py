"""
A room being hosted.

`RoomHost` is the only door between a game and those who play or watch it: in `end_turn`
effects settle, then everything that players will see is handed to the outlets. Beside
it: recordings on disk, and the alarm that interrupts games that take too long.
"""
