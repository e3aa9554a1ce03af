"""Lobby lines and WebSockets: text, TCP, TLS and the PROXY protocol."""
