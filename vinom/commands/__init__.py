"""The program `vinom` and its commands."""
