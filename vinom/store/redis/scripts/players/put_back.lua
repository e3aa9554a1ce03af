-- Store a player who was in a Redis that was lost: hash of the key, data, lifetime in ms,
-- player's id, most players
-- Returns 0, and changes nothing, if the key is known.
if redis.call('EXISTS', P .. 'player:' .. ARGV[4]) == 1 then
  return 0
end
make_room(ARGV[8])
store(ARGV[4], ARGV[5], ARGV[6])
redis.call('SET', P .. 'key-of:' .. ARGV[7], ARGV[4], 'PX', ARGV[6], 'NX')
return 1
