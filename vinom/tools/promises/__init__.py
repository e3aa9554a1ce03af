"""
The promises about matches that outlive their processes, and the check that they hold.

`witness` records what one player's client saw of a match; `checker` compares the
records of all its players with each other and with the recording. ``vinom chaos`` and
the tests of Vinom use the same check.
"""
