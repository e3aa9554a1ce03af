-- Find for how long a player has had no line to another node: the player
-- Returns what absence returns.
return absence(ARGV[4])
