"""
Lobby lines and WebSockets.

Text lines over TCP, WebSockets, TLS and the PROXY protocol. ``ws_stream`` is
WebSocket without I/O; messages for many are framed once.
"""
