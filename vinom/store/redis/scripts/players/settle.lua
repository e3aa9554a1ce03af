-- Note that a guest has done more than say hello: the player's id
if redis.call('DEL', P .. 'guest:' .. ARGV[4]) == 1 then
  redis.call('ZREM', P .. 'guests', ARGV[4])
end
return 1
