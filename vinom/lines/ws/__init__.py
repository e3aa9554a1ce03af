"""WebSocket without I/O."""
