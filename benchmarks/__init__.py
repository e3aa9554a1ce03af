"""Repeatable measurements of a real node; ``python -m benchmarks --help``."""
