-- Take over a room that was released, or whose owner's lease is over: its id, and 1 to reserve an id that is free, 2 also if a game has ended there
-- Returns what came of it, fence, checkpoint (or why a game in it ended), how many ms its owner's lease lasts, and who
-- that is.
local id, key = ARGV[4], P .. 'room:' .. ARGV[4]
local node, fence, data, ending = unpack(
  call('HMGET', key, 'node', 'fence', 'data', 'ending')
)
if ending and ARGV[5] ~= '2' then
  return { 'ended', '0', ending, '0', '' }
end
if not node or (node == '' and not data) then
  if ARGV[5] == '0' then
    return { 'gone', '0', '', '0', '' }
  end
  fence = tostring(tonumber(fence or '0') + 1)
  call('HSET', key, 'node', ARGV[2], 'lease', ARGV[3], 'fence', fence)
  call('HDEL', key, 'ending')
  call('PEXPIRE', key, RESERVED)
  own(id)
  return { 'new', fence, '', '0', '' }
end
if node == ARGV[2] then
  -- The answer to an earlier call of this node was lost.
  return { data and 'adopted' or 'new', fence, data or '', '0', '' }
end
local ends = tonumber(call('HGET', P .. 'node:' .. node, 'ends') or '0')
if ends > now then
  return { 'owned', '0', '', tostring(math.ceil((ends - now) / 1000)), node }
end
fence = tostring(tonumber(fence) + 1)
call('HSET', key, 'node', ARGV[2], 'lease', ARGV[3], 'fence', fence)
call('PEXPIRE', key, data and LIFETIME or RESERVED)
call('SREM', rooms_of(node), id)
own(id)
return { data and 'adopted' or 'new', fence, data or '', '0', '' }
