-- ARGV: the player, the time, ms until all are forgotten
local count = call('HINCRBY', P .. 'declines:' .. ARGV[4], 'count', 1)
write(ARGV[6], 'HSET', 'declines:' .. ARGV[4], 'last', ARGV[5])
return count
