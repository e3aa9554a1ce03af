-- Forget a room that has closed: its id, fence, why the game in it ended (empty if none was played)
-- Returns 0 if another node has it.
if is_stale(ARGV[2], ARGV[3]) then return 'STALE' end
local key = P .. 'room:' .. ARGV[4]
local found = redis.call('HMGET', key, 'node', 'fence')
if found[1] ~= ARGV[2] or found[2] ~= ARGV[5] then
  if found[1] ~= ARGV[2] then
    redis.call('SREM', P .. 'rooms-of:' .. ARGV[2], ARGV[4])
  end
  return 0
end
redis.call('DEL', key)
if ARGV[6] ~= '' then
  redis.call('HSET', key, 'node', '', 'fence', ARGV[5], 'ending', ARGV[6])
  redis.call('PEXPIRE', key, LIFETIME)
elseif ARGV[5] ~= '1' then
  redis.call('HSET', key, 'node', '', 'fence', ARGV[5])
  redis.call('PEXPIRE', key, REMEMBERED)
end
redis.call('SREM', P .. 'rooms-of:' .. ARGV[2], ARGV[4])
return 1
