"""Plug-ins, one game per file."""
