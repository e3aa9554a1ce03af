"""Wiring: settings, and one `twistd vinom` process built from them."""
