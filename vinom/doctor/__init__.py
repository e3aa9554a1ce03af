"""`vinom doctor`: examine this machine and say how to fix it."""
