"""Tests of `vinom.net.streams`."""
