"""Implementations of the fleet port."""
