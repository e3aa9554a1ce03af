"""Rooms being hosted: recordings, and guards around game calls."""
