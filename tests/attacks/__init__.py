"""Attacks, each with what it costs us: see docs/reference/attacks.rst."""
