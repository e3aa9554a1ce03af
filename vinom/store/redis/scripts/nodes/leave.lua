-- End the lease of a node: its id and the number of its lease
-- Returns 0 if that lease is not there.
local id = ARGV[4]
if redis.call('HGET', P .. 'node:' .. id, 'lease') ~= ARGV[5] then
  return 0
end
local left = {}
for i, kind in ipairs({ 'entries', 'lines', 'matches', 'prematches' }) do
  left[i] = P .. kind .. '-of:' .. id
end
if redis.call('EXISTS', unpack(left)) > 0 then
  -- Listed as expired from now on, so that others clear up what it left.
  redis.call('HSET', P .. 'node:' .. id, 'ends', string.format('%d', now))
  redis.call('ZADD', P .. 'nodes', now, id)
else
  redis.call('DEL', P .. 'node:' .. id)
  redis.call('ZREM', P .. 'nodes', id)
end
return 1
