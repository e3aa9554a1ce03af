-- Make an entry unmatchable: id
-- Returns 0 if it is gone, or if its players all have lines to other nodes by now.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local queue, place, suspended, prematch, players = unpack(redis.call('HMGET',
  P .. 'entry:' .. ARGV[4], 'queue', 'place', 'suspended', 'prematch', 'players'))
if not queue then
  return 0
end
local is_left = false
for player in players:gmatch('[^\n]+') do
  local node = redis.call('HGET', P .. 'line:' .. player, 'node')
  is_left = is_left or not node or node == ARGV[2]
end
if not is_left then
  return 0
end
if suspended == '0' then
  suspend(ARGV[4], queue, place, prematch)
end
return 1
