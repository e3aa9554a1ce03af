"""
The supply of game servers.

`Fleet` places matches on game servers, follows these over control links, and reports
how each match goes on. ``local`` starts game servers by forking a warm interpreter,
``kubernetes`` as pods.
"""
