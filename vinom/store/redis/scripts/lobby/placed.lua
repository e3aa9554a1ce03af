local id, placement, is_adopted = unpack(ARGV, 4, 6)
local node = call('HGET', P .. 'match:' .. id, 'node')
if not node then return 0 end
call('HSET', P .. 'match:' .. id, 'placement', placement)
if is_adopted == '1' then take_over('match', 'matches', id, node) end
return 1
