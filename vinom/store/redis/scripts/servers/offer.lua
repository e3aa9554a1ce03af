-- Let any node take a game server over: its id, fence, machine, record
-- Returns 0 if another node has it. One that is not here is kept, too: the store may have
-- been away when its record was written.
local id, key = ARGV[4], P .. 'server:' .. ARGV[4]
local node, fence, data = unpack(call('HMGET', key, 'node', 'fence', 'data'))
if node and (not data or fence ~= ARGV[5] or (node ~= ARGV[2] and node ~= '')) then
  return 0
end
call(
  'HSET', key, 'node', '', 'lease', '0', 'fence', ARGV[5], 'machine', ARGV[6],
  'data', ARGV[7]
)
call('PEXPIRE', key, LIFETIME)
call('SREM', servers_of(ARGV[2]), id)
list('', id)
return 1
