"""Implementations of the storage ports."""
