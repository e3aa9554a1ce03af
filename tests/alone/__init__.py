"""
Tests that need the whole machine: hundreds of players and processes.

Beside others, on two cores, they take so long that time limits of the product end what
they want to see. ``trial tests`` does not find them, and tox runs them after the rest
(``tox.ini`` names them).
"""
