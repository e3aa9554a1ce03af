-- Store a player: hash of the key, data, lifetime in ms, player's id, most players
if redis.call('EXISTS', P .. 'player:' .. ARGV[4]) == 0 then
  -- Who has proved an account is stored in any case.
  make_room(ARGV[8])
end
store(ARGV[4], ARGV[5], ARGV[6])
redis.call('SET', P .. 'key-of:' .. ARGV[7], ARGV[4], 'PX', ARGV[6])
if redis.call('DEL', P .. 'guest:' .. ARGV[7]) == 1 then
  redis.call('ZREM', P .. 'guests', ARGV[7])
end
return 1
