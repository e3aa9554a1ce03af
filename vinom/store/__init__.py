"""
What nodes share, behind interfaces: players, queues, parties, matches, rooms, leases.

``memory`` keeps it for one node, ``redis`` for several; the contract in ``tests/store``
holds for both. It owns the data of a deployment. It may import the base.
"""
