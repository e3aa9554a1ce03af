"""What runs: start, stop, drain."""
