-- Make this node the owner of a match that goes on: id, placement
-- Returns 0 if the match is over.
local before = call('HGET', P .. 'match:' .. ARGV[4], 'node')
if not before then
  return 0
end
call('HSET', P .. 'match:' .. ARGV[4], 'placement', ARGV[5])
own('match', 'matches', ARGV[4], before)
return 1
