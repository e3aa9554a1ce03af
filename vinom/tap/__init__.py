"""Options, settings, wiring: the only place that builds things."""
