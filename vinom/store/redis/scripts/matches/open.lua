-- Record a match: id, plan, then the players' ids
-- Returns 0, and changes nothing, if it exists or a player has another running match.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local id, plan = ARGV[4], ARGV[5]
local keys = { P .. 'match:' .. id }
for i = 6, #ARGV do
  keys[#keys + 1] = P .. 'match-of:' .. ARGV[i]
end
if redis.call('EXISTS', unpack(keys)) > 0 then
  return 0
end
redis.call('HSET', keys[1], 'plan', plan, 'node', ARGV[2], 'lease', ARGV[3])
for i = 6, #ARGV do
  redis.call('HSET', keys[1], 'player:' .. ARGV[i], 1)
  redis.call('SET', keys[i - 4], id, 'PX', LIFETIME)
end
redis.call('PEXPIRE', keys[1], LIFETIME)
redis.call('SADD', P .. 'matches-of:' .. ARGV[2], id)
redis.call('PEXPIRE', P .. 'matches-of:' .. ARGV[2], LIFETIME)
return 1
