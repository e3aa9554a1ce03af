-- Find the end of a player's latest match: the player's id
-- Returns it, or ''.
return redis.call('GET', P .. 'end-of:' .. ARGV[4]) or ''
