-- Count one more decline of a player: id, the time, ms until all are forgotten
-- Returns how many there are now.
local key = P .. 'declines:' .. ARGV[4]
local count = call('HINCRBY', key, 'count', 1)
call('HSET', key, 'last', ARGV[5])
call('PEXPIRE', key, ARGV[6])
return count
