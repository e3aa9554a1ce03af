"""Fuzz everything that reads bytes of peers; see docs/reference/attacks.rst."""
