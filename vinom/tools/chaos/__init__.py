"""
``vinom chaos``: a real deployment whose processes are killed while bots play.

`plan` plans the kills and formats the results; `run` starts it and runs the bots.
`vinom.tools.promises` checks the promises.
"""
