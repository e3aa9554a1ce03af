"""The storage ports in memory, for one node; everything is lost when it stops."""
