"""Tests of `vinom.gateway`."""
