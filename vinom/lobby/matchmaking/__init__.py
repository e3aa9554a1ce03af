"""
Choose the players of each match from the queue.

``rules`` finds tables, `Matchmaker` looks for them in rounds, and ``updates`` sends
waiting players their places.
"""
