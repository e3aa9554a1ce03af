"""Tests of `vinom.gateway.routing`."""
