-- Find a player: hash of the key
-- Returns its data, or ''.
return redis.call('GET', P .. 'player:' .. ARGV[4]) or ''
