"""Which of our functions one message of a player passes through on a live node."""
