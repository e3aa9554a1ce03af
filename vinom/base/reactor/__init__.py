"""
What Twisted's reactor lacks.

Alarms for deadlines that keep moving, alone or many on one heap; calls at the end of a
turn; direct reads and writes of plain sockets; and the measurement of how long turns
take.
"""
