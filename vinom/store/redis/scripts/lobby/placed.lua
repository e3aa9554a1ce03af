-- Record where a match is played: id, placement, and 1 if this node goes on with it
-- Returns 0 if the match is over.
local id, key = ARGV[4], P .. 'match:' .. ARGV[4]
local node = call('HGET', key, 'node')
if not node then
  return 0
end
call('HSET', key, 'placement', ARGV[5])
if ARGV[6] == '1' then
  take_over('match', 'matches', id, node)
end
return 1
