-- ARGV: the node that had them ('' for those that any node may have), kind, how many at most, the
-- machine of game servers. Returns the ids of rooms, the data of game servers.
local of, most, found = ARGV[4], tonumber(ARGV[6]), {}
local ends = call('HGET', P .. 'node:' .. of, 'ends') or '0'
for _, id in ipairs(call('SRANDMEMBER', P .. OF .. of, 10 * most)) do
  local key = P .. KIND .. ':' .. id
  local node, grace, machine, released =
    unpack(call('HMGET', key, 'node', 'grace', 'machine', 'released'))
  local since = of == '' and released or ends
  if node ~= of then
    call('SREM', P .. OF .. of, id)
  elseif now >= since + (grace or 0) * 1000 and (machine or '') == ARGV[7] and #found < most then
    found[#found + 1] = KIND == 'room' and id or call('HGET', key, 'data')
  end
end
return found
