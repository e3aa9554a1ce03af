-- Note that a guest has done more than say hello: the player's id
local hash = redis.call('GET', P .. 'guest:' .. ARGV[4])
if hash then
  local left = redis.call('PTTL', P .. 'guest:' .. ARGV[4])
  redis.call('SET', P .. 'key-of:' .. ARGV[4], hash, 'PX', math.max(1, left))
  redis.call('DEL', P .. 'guest:' .. ARGV[4])
  redis.call('ZREM', P .. 'guests', ARGV[4])
end
return 1
