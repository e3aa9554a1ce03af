-- Forget a party: id, the version that was read
-- Returns 0 if it is gone, or its version is another.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local id, key = ARGV[4], P .. 'party:' .. ARGV[4]
local version, state, game, players =
  unpack(redis.call('HMGET', key, 'version', 'state', 'game', 'players'))
if version ~= ARGV[5] then
  return 0
end
take_out(id, state, game, players)
redis.call('DEL', key)
return 1
