"""
Game servers: where matches are played.

`Fleet` places matches on game servers, follows these over control links, and reports
how each match goes on. ``local`` starts game servers by forking a warm interpreter,
``kubernetes`` as pods; ``control`` has the messages between both, ``gameserver`` the
program at the other end, and ``relay`` what the node does for players who cannot reach
it. It owns game servers, their ports and their checkpoints. It may import the play, the
network, the store and the base.
"""
