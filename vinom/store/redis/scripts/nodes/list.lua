-- Returns data and lease number of 'running' or 'expired' nodes, as their leases end.
local from, to = '-inf', string.format('%d', now)
if ARGV[4] == 'running' then
  from, to = '(' .. to, '+inf'
end
local found = {}
for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'nodes', from, to)) do
  local data, number = unpack(call('HMGET', P .. 'node:' .. id, 'data', 'lease'))
  if data then
    found[#found + 1] = data
    found[#found + 1] = number
  else
    call('ZREM', P .. 'nodes', id)
  end
end
return found
