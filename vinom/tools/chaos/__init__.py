"""
``vinom chaos``: a real deployment whose processes are killed while bots play.

`plan` plans the kills, `run` starts it and runs the bots, and `report` formats the
results. `vinom.tools.promises` checks the promises.
"""
