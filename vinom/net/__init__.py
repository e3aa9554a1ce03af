"""Thin Twisted adapters, one kind of transport each."""
