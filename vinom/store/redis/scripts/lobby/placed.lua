-- Record where a match is played: id, placement
-- Returns 0 if the match is over.
local key = P .. 'match:' .. ARGV[4]
if call('EXISTS', key) == 0 then
  return 0
end
call('HSET', key, 'placement', ARGV[5])
return 1
