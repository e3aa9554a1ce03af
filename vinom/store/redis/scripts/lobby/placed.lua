local id, placement, is_adopted = unpack(ARGV, 4, 6)
local node = call('HGET', P .. 'match:' .. id, 'node')
if node then
  call('HSET', P .. 'match:' .. id, 'placement', placement)
end
if node and is_adopted == '1' then
  take_over('match', 'matches', id, node)
end
return node and 1 or 0
