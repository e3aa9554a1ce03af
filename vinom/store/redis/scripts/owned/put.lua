-- Store what another node must know to go on with a thing: id, kind, fence, data, a room's
-- grace in ms or a game server's machine, and 1 if any node may take it over from now on
-- Returns 0 if another node has it, or may have it. A game server may be offered again.
local fence, data, about, is_free = unpack(ARGV, 6, 9)
local node, its, before = unpack(call('HMGET', KEY, 'node', 'fence', 'data'))
local is_offered = KIND == 'server' and is_free == '1' and node == '' and before
if node and (its ~= fence or node ~= ARGV[2] and not is_offered) then
  return 0
end
take(LIFETIME, node, fence, 'data', data, KIND == 'room' and 'grace' or 'machine', about)
if is_free == '0' then
  return 1
end
call('HSET', KEY, 'node', '', 'released', string.format('%d', now))
call('SREM', OF .. ARGV[2], ID)
call('SADD', OF, ID)
call('PEXPIRE', OF, LIFETIME)
return 1
