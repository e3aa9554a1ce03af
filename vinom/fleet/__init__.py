"""
The supply of game servers.

`Fleet` places matches on game servers, follows their lives over control links and
reports what becomes of each; ``local`` starts them by forking a warm server.
"""
