-- Store a new guest: hash of the key, data, lifetime in ms, player's id, most players
-- Returns 0 if the store is full of players who are needed.
if not make_room(ARGV[8]) then
  return 0
end
store(ARGV[4], ARGV[5], ARGV[6])
redis.call('SET', P .. 'guest:' .. ARGV[7], ARGV[4], 'PX', ARGV[6])
redis.call('ZADD', P .. 'guests', now + ARGV[6] * 1000, ARGV[7])
redis.call('PEXPIRE', P .. 'guests', ARGV[6] + LIFETIME)
return 1
