"""
What people run by hand: the program ``vinom``.

``commands`` has a module per command; ``doctor`` examines a machine and the settings of
a node; ``check`` tries a game before players do; ``chaos`` kills the processes of a
deployment while bots play, and
``promises`` checks what must hold. It owns nothing that outlives a command,
and may import every wing.
"""
