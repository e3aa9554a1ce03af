-- Forget a room that has closed: its id, fence
-- Returns 0 if another node has it.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local key = P .. 'room:' .. ARGV[4]
local found = redis.call('HMGET', key, 'node', 'fence')
if found[1] ~= ARGV[2] or found[2] ~= ARGV[5] then
  if found[1] ~= ARGV[2] then
    redis.call('SREM', P .. 'rooms-of:' .. ARGV[2], ARGV[4])
  end
  return 0
end
if ARGV[5] == '1' then
  redis.call('DEL', key)
else
  redis.call('HSET', key, 'node', '')
  redis.call('HDEL', key, 'data')
  redis.call('PEXPIRE', key, REMEMBERED)
end
redis.call('SREM', P .. 'rooms-of:' .. ARGV[2], ARGV[4])
return 1
