-- Make this node the owner of a match that goes on: id, placement
-- Returns 0 if the match is over.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local id = ARGV[4]
local key = P .. 'match:' .. id
local before = redis.call('HGET', key, 'node')
if not before then
  return 0
end
redis.call('SREM', P .. 'matches-of:' .. before, id)
redis.call('HSET', key, 'node', ARGV[2], 'lease', ARGV[3], 'placement', ARGV[5])
redis.call('SADD', P .. 'matches-of:' .. ARGV[2], id)
redis.call('PEXPIRE', P .. 'matches-of:' .. ARGV[2], LIFETIME)
return 1
