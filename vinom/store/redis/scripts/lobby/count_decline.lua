-- Count one more decline of a player: id, the time, ms until all are forgotten
-- Returns how many there are now.
local count = call('HINCRBY', P .. 'declines:' .. ARGV[4], 'count', 1)
write(ARGV[6], 'HSET', 'declines:' .. ARGV[4], 'last', ARGV[5])
return count
