-- Remove an entry: id
-- Returns 0 if it is gone, or in a prematch.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local queue, place, players, node, prematch = unpack(redis.call('HMGET',
  P .. 'entry:' .. ARGV[4], 'queue', 'place', 'players', 'node', 'prematch'))
if not queue or prematch then
  return 0
end
remove(ARGV[4], queue, place, players, node)
return 1
