"""
From queue entries to the players of one match.

Rules over the queue, rounds at a cadence, and what waiting players are sent.
"""
