"""Tests of `vinom.routing`."""
