"""
``vinom chaos``: a real deployment whose processes are killed while bots play.

`deployment` starts it, `plan` plans the kills, `run` runs the bots, and `report`
formats the results. `vinom.tools.promises` checks the promises.
"""
