-- List game servers that a node may take over: the node that had them (empty for those that
-- are offered), the machine, how many at most
-- Returns their records; none while that node's lease lasts.
local found = {}
if ARGV[4] ~= '' and is_alive(ARGV[4]) then
  return found
end
for _, id in ipairs(call('SRANDMEMBER', servers_of(ARGV[4]), 10 * ARGV[6])) do
  local node, machine, data = unpack(
    call('HMGET', P .. 'server:' .. id, 'node', 'machine', 'data')
  )
  if node ~= ARGV[4] or not data then
    -- Its lifetime is over.
    call('SREM', servers_of(ARGV[4]), id)
  elseif machine == ARGV[5] and #found < tonumber(ARGV[6]) then
    found[#found + 1] = data
  end
end
return found
