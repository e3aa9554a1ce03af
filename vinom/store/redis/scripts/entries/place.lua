-- Find an entry's place in its queue: id
-- Returns 0 if it is gone.
local queue, place = unpack(redis.call('HMGET', P .. 'entry:' .. ARGV[4], 'queue', 'place'))
if not queue then
  return 0
end
return redis.call('ZRANK', P .. 'queue:' .. queue .. ':places', place) + 1
