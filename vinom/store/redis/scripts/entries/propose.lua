-- Store a prematch, and take all of its entries out of the queue, or do nothing.
-- id, data, options, until, started_by, how many entries, their ids, then each player's
-- id and answer
-- Returns 0 if one of the entries does not wait, or is suspended.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local id, data, options, ends, started_by, count = unpack(ARGV, 4, 9)
local key, last = P .. 'prematch:' .. id, 9 + count
if redis.call('EXISTS', key) == 1 then
  return 0
end
local taken = {}
for i = 10, last do
  local found = redis.call('HMGET', P .. 'entry:' .. ARGV[i], 'queue', 'place', 'suspended',
    'prematch')
  if found[3] ~= '0' or found[4] or taken[ARGV[i]] then
    return 0
  end
  taken[ARGV[i]] = found
end
for entry, found in pairs(taken) do
  take_out(found[1], found[2])
  redis.call('HSET', P .. 'entry:' .. entry, 'prematch', id)
end
redis.call('HSET', key, 'data', data, 'options', options, 'until', ends,
  'started_by', started_by, 'entries', table.concat(ARGV, '\n', 10, last))
for i = last + 1, #ARGV, 2 do
  redis.call('HSET', key, 'player:' .. ARGV[i], ARGV[i + 1])
end
own_prematch(id)
redis.call('PEXPIRE', key, LIFETIME)
return 1
