"""Bots that play a server's games, and a report of what they saw."""
