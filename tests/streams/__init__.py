"""Tests of `vinom.streams`."""
