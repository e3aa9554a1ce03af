-- Count one more decline of a player: id, the time, ms until all are forgotten
-- Returns how many there are now.
if is_stale(ARGV[2], ARGV[3]) then return 'STALE' end
local key = P .. 'declines:' .. ARGV[4]
local count = redis.call('HINCRBY', key, 'count', 1)
redis.call('HSET', key, 'last', ARGV[5])
redis.call('PEXPIRE', key, ARGV[6])
return count
