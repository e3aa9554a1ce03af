"""
The clients.

The Python SDK (``sdk``); ``bots``, which load a server and measure what they
see; and ``terminal``, the client of ``vinom play`` and the pictures of ``vinom demo``.
It owns a player's end of each connection. It may import the network and the base.
"""
