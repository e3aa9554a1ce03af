"""Matches: planned, placed, ended."""
