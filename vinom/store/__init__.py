"""The storage ports: memory for one node."""
