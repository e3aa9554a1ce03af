-- Record where a match is played: id, placement
-- Returns 0 if the match is over.
if is_stale(ARGV[2], ARGV[3]) then return 'STALE' end
local key = P .. 'match:' .. ARGV[4]
if redis.call('EXISTS', key) == 0 then
  return 0
end
redis.call('HSET', key, 'placement', ARGV[5])
return 1
