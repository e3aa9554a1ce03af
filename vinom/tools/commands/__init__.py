"""
The program ``vinom``.

One module per command; `cli` imports a command only when it is typed.
"""
