-- ARGV: id, kind, a node that is known to be gone, and 1 to reserve an id that is free, 2 also if
-- a game has ended there
-- Returns what came of it, fence, data (or why a game ended), how many ms the lease of its node
-- lasts, and who that is.
local node, fence, data, ending = unpack(call('HMGET', P .. THING, 'node', 'fence', 'data', 'ending'))
if ending and ARGV[7] ~= '2' then
  return { 'ended', '0', ending, '0', '' }
end
if node ~= ARGV[2] then
  if not data and (node or '') == '' and ARGV[7] == '0' then
    return { node and 'over' or 'gone', '0', '', '0', '' }
  end
  if (node or '') ~= '' and node ~= ARGV[6] and is_alive(node) then
    local ends = tonumber(call('HGET', P .. 'node:' .. node, 'ends'))
    return { 'owned', '0', '', tostring(math.ceil((ends - now) / 1000)), node }
  end
  fence = tostring(tonumber(fence or '0') + 1)
  take(data and LIFETIME or RESERVED, node, fence)
  call('HDEL', P .. THING, 'ending')
end
-- If it was this node's, the answer to an earlier call was lost.
return { data and 'adopted' or 'new', fence, data or '', '0', '' }
