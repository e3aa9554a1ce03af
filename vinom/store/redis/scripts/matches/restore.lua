-- Record a match of this node that this Redis has lost: id, plan, placement ('' without one),
-- then the ids of the players who are in it
-- Returns 0, and changes nothing, if another node has it, or a player knows its end.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local id, key = ARGV[4], P .. 'match:' .. ARGV[4]
local node = redis.call('HGET', key, 'node')
if node then
  -- If it is this node's, the answer to an earlier call was lost. Players may have left it
  -- since then.
  return node == ARGV[2] and 1 or 0
end
for i = 7, #ARGV do
  local ended = redis.call('GET', P .. 'end-of:' .. ARGV[i])
  if ended and cjson.decode(ended)['end'].match_id == id then
    return 0
  end
end
redis.call('HSET', key, 'plan', ARGV[5], 'node', ARGV[2], 'lease', ARGV[3])
if ARGV[6] ~= '' then
  redis.call('HSET', key, 'placement', ARGV[6])
end
for i = 7, #ARGV do
  -- Not a player who has got another match since then.
  if redis.call('SET', P .. 'match-of:' .. ARGV[i], id, 'PX', LIFETIME, 'NX') then
    redis.call('HSET', key, 'player:' .. ARGV[i], 1)
  end
end
redis.call('PEXPIRE', key, LIFETIME)
redis.call('SADD', P .. 'matches-of:' .. ARGV[2], id)
redis.call('PEXPIRE', P .. 'matches-of:' .. ARGV[2], LIFETIME)
return 1
