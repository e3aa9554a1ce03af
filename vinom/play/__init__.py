"""One game being played: seats, time, views and recordings, without I/O."""
