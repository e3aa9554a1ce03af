"""
``vinom doctor``.

Examine this machine and a node's settings; each finding says what is wrong and how to
fix it.
"""
