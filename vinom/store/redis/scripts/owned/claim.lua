-- ARGV: id, kind, a node that is known to be gone, and 1 to reserve an id that is free, 2 also if
-- a game has ended there
-- Returns what came of it, fence, data (or why a game ended), how many ms the lease of its node
-- lasts, who has it or had it, and for how many ms the data of a lasting room has been kept.
local node, fence, ending, players, released =
  unpack(call('HMGET', P .. THING, 'node', 'fence', 'ending', 'players', 'released'))
local data = data_of(ID)
if ending and ARGV[7] ~= '2' then
  return { 'ended', '0', ending, '0', '', '' }
end
if node ~= ARGV[2] then
  if not data and (node or '') == '' and ARGV[7] == '0' then
    return { node and 'over' or 'gone', '0', '', '0', '', '' }
  end
  if (node or '') ~= '' and node ~= ARGV[6] and is_alive(node) then
    local left = tostring(math.ceil((lease_ends(node) - now) / 1000))
    return { 'owned', '0', '', left, node, '' }
  end
  fence = tostring(tonumber(fence or '0') + 1)
  take(players and LASTING or data and LIFETIME or RESERVED, node, fence)
  call('HDEL', P .. THING, 'ending')
  if players then
    look_at(lease_ends(ARGV[2]))
  else
    call('ZREM', P .. FREE, ID)
  end
end
local age = players and math.max(0, math.floor((now - released) / 1000)) or ''
-- If it was this node's, the answer to an earlier call was lost.
return { data and 'adopted' or 'new', fence, data or '', '0', node or '', tostring(age) }
