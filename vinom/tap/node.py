"""Placeholder until the services meet here."""
