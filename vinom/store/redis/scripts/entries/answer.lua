-- Note a player's answer, unless there is one, or the match is being made: id of the
-- prematch, the player's id, 'yes' or 'no'
-- Returns the prematch after that; nothing if it is gone, or the player is not in it.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local key, field = P .. 'prematch:' .. ARGV[4], 'player:' .. ARGV[5]
local started_by, answer = unpack(redis.call('HMGET', key, 'started_by', field))
if not answer then
  return {}
end
if started_by == '' and answer == '' then
  redis.call('HSET', key, field, ARGV[6])
end
return redis.call('HGETALL', key)
