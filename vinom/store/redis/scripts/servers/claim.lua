-- Take over a game server that is offered, or whose node's lease is over: its id, and a node
-- that is known to be gone, whatever its lease
-- Returns the outcome, fence, record.
local id, key = ARGV[4], P .. 'server:' .. ARGV[4]
local node, fence, data = unpack(call('HMGET', key, 'node', 'fence', 'data'))
if not node then
  return { 'unknown', '0', '' }
end
if not data then
  return { 'over', '0', '' }
end
if node == ARGV[2] then
  -- The answer to an earlier call of this node was lost.
  return { 'claimed', fence, data }
end
if node ~= '' and node ~= ARGV[5] and is_alive(node) then
  return { 'owned', '0', '' }
end
fence = tostring(tonumber(fence) + 1)
call('HSET', key, 'node', ARGV[2], 'lease', ARGV[3], 'fence', fence)
call('PEXPIRE', key, LIFETIME)
call('SREM', servers_of(node), id)
list(ARGV[2], id)
return { 'claimed', fence, data }
