-- Let a player of a running match play another one: id, player's id
-- Returns 0 if the player is not in this match.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
if redis.call('HDEL', P .. 'match:' .. ARGV[4], 'player:' .. ARGV[5]) == 0 then
  return 0
end
redis.call('DEL', P .. 'match-of:' .. ARGV[5])
return 1
