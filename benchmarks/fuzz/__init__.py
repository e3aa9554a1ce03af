"""Fuzz everything that reads bytes of others; see docs/reference/attacks.rst."""
