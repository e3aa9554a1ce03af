-- Forget a game server that has no match any more: its id, fence
-- Returns 0 if another node has it, or had it at its end.
local id, key = ARGV[4], P .. 'server:' .. ARGV[4]
local node, fence, data = unpack(call('HMGET', key, 'node', 'fence', 'data'))
if not node then
  return 1
end
if not data or fence ~= ARGV[5] or (node ~= ARGV[2] and node ~= '') then
  return 0
end
if fence == '1' then
  call('DEL', key)
else
  call('HSET', key, 'node', '')
  call('HDEL', key, 'data')
  call('PEXPIRE', key, REMEMBERED)
end
call('SREM', servers_of(node), id)
return 1
