-- ARGV: id, kind, fence, data, a room's grace in ms or a game server's machine, and 1 if any node
-- may take it over from now on. A game server may be offered again.
local fence, data, about, is_free = unpack(ARGV, 6, 9)
local node, its = unpack(call('HMGET', P .. THING, 'node', 'fence'))
local is_own = node == ARGV[2] or is_free == '1' and is_offered(node)
if node and not (is_own and its == fence) then
  return 0
end
take(LIFETIME, node, fence, 'data', data, KIND == 'room' and 'grace' or 'machine', about)
if is_free == '1' then
  call('HSET', P .. THING, 'node', '', 'released', string.format('%d', now))
  call('SREM', P .. OF .. ARGV[2], ID)
  write(LIFETIME, 'SADD', OF, ID)
end
return 1
