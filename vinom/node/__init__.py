"""
One ``twistd vinom`` process.

Its settings, the services built from them (`build`), its ports, and how it starts,
reloads, drains and stops; `requests` says which service answers a request, and
``web`` has the page and the admin API. It owns the process: its listeners, its lease,
its keys. It may import all wings below but the gateway, the client and the games.
"""
