"""
WebSocket without I/O.

Handshake, frames, and the stream that a short cut and the ``websockets`` package read
alike.
"""
