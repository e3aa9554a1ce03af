"""Tests of `vinom.net.http`."""
