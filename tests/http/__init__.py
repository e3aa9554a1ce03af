"""Tests of `vinom.http`."""
