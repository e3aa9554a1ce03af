-- ARGV: the node that had them ('' for those that any node may have), kind, how many at most, the
-- machine of game servers. Returns the ids of rooms, the data of game servers.
-- A room that is listed is not listed again for so long: one node is about to claim it, in us.
local TO_CLAIM = 2 * 1000 * 1000
-- Of rooms that are awake, and only put off, many more are looked at: none must wait for them.
local AWAKE = 40
local of, most, found = ARGV[4], tonumber(ARGV[6]), {}
if KIND == 'room' and of == '' then
  for _, id in ipairs(call('ZRANGEBYSCORE', P .. FREE, '-inf', now, 'LIMIT', 0, AWAKE * most)) do
    if #found == most then
      break
    end
    local node, players = unpack(call('HMGET', P .. 'room:' .. id, 'node', 'players'))
    local again = now + TO_CLAIM
    if not node or node ~= '' and not players then
      again = nil
    elseif node ~= '' and is_alive(node) then
      again = lease_ends(node)
    else
      found[#found + 1] = id
    end
    if again then
      call('ZADD', P .. FREE, string.format('%d', again), id)
    else
      call('ZREM', P .. FREE, id)
    end
  end
  return found
end
local ends = lease_ends(of)
for _, id in ipairs(call('SRANDMEMBER', P .. OF .. of, 10 * most)) do
  local key = P .. KIND .. ':' .. id
  local node, grace, machine, released, players =
    unpack(call('HMGET', key, 'node', 'grace', 'machine', 'released', 'players'))
  local since = of == '' and released or ends
  local is_over = not players and now >= since + (grace or 0) * 1000
  if node ~= of then
    call('SREM', P .. OF .. of, id)
  elseif is_over and (machine or '') == ARGV[7] and #found < most then
    found[#found + 1] = KIND == 'room' and id or call('HGET', key, 'data')
  end
end
return found
