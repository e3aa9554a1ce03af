"""Bytes in, events out: no socket, no clock, no randomness of its own."""
