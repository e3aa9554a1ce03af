"""
Lobby lines and WebSockets.

Text lines over TCP, WebSockets, TLS and the PROXY protocol. ``ws_handshake`` and
``ws_stream`` are WebSocket without I/O; messages for many are framed once.
"""
