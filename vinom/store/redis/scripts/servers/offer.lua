-- Let any node take a game server over: its id, fence, machine, record
-- Returns 0 if another node has it. One that is not here is kept, too: the store may have
-- been away when its record was written.
if is_stale(ARGV[2], ARGV[3]) then return 'STALE' end
local id, key = ARGV[4], P .. 'server:' .. ARGV[4]
local node, fence, data = unpack(redis.call('HMGET', key, 'node', 'fence', 'data'))
if node and (not data or fence ~= ARGV[5] or (node ~= ARGV[2] and node ~= '')) then
  return 0
end
redis.call(
  'HSET', key, 'node', '', 'lease', '0', 'fence', ARGV[5], 'machine', ARGV[6],
  'data', ARGV[7]
)
redis.call('PEXPIRE', key, LIFETIME)
redis.call('SREM', servers_of(ARGV[2]), id)
list('', id)
return 1
