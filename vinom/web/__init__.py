"""
HTTP.

The page and its scripts, the admin API, health and metrics, and the door in front that
tells WebSocket from HTTP.
"""
