"""Health, metrics and the operator's HTTP."""
