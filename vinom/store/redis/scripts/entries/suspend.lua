-- Make an entry unmatchable: id
-- Returns 0 if it is gone.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local key = P .. 'entry:' .. ARGV[4]
local queue, place, suspended = unpack(redis.call('HMGET', key, 'queue', 'place', 'suspended'))
if not queue then
  return 0
end
if suspended == '0' then
  redis.call('HSET', key, 'suspended', 1)
  redis.call('ZREM', P .. 'queue:' .. queue .. ':ready', place)
  redis.call('HINCRBY', P .. 'queue:' .. queue, 'ready', -tonumber(place:match('^%d+:(%d+):')))
  redis.call('HINCRBY', P .. 'queued', ':suspended', 1)
end
return 1
