local id, lease = ARGV[4], ARGV[5]
local found = call('HMGET', P .. 'node:' .. id, 'lease', 'ends')
if found[1] ~= lease then
  return 0
end
if tonumber(found[2]) <= now and call('EXISTS', P .. 'rooms-of:' .. id) == 1 then
  -- They wait for their players, from the end of the lease on.
  return 0
end
local left = {}
for i, kind in ipairs({ 'away', 'entries', 'lines', 'matches', 'prematches', 'rooms' }) do
  left[i] = P .. kind .. '-of:' .. id
end
if call('EXISTS', unpack(left)) > 0 then
  -- Listed as expired from now on, so that others clear up what it left.
  call('HSET', P .. 'node:' .. id, 'ends', string.format('%d', now))
  call('ZADD', P .. 'nodes', now, id)
else
  call('DEL', P .. 'node:' .. id)
  call('ZREM', P .. 'nodes', id)
end
return 1
