"""
``vinom chaos``: a real deployment whose processes are killed while bots play.

`deployment` starts it, `strikes` says what is killed when, `run` brings the bots, and
`report` has what is printed. What was promised is checked by `vinom.promises`.
"""
