"""
Hosting a room.

`RoomHost` is the only door between a game and its players and spectators: in `end_turn`
effects settle, then everything that players will see is handed to the outlets. The
package also has the recordings on disk, and the alarm that interrupts games that take
too long.
"""
