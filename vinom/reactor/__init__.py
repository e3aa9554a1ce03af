"""What Twisted's reactor lacks: alarms, waits, the end of a turn, direct sends."""
