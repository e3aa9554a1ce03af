"""
The clients.

The Python SDK (``sdk``), the bots that load a server and count what they see, and the
terminal client of ``vinom play``.
"""
