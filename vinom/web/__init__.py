"""
HTTP.

The page and its scripts, the admin API, health and metrics, and the front door, which
separates WebSockets from HTTP.
"""
