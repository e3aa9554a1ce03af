"""Rooms that the node hosts for players over WebSocket."""
