-- Store an entry, unless one of its players has one.
-- id, data, queue, since, suspended, number of its arrival (0 if it is new), the game's
-- options, then the players' ids
-- Returns its place; 0 if it was not stored.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local id, data, queue, since, suspended, number, options = unpack(ARGV, 4, 10)
local keys = { P .. 'entry:' .. id }
for i = 11, #ARGV do
  keys[#keys + 1] = P .. 'entry-of:' .. ARGV[i]
end
if redis.call('EXISTS', unpack(keys)) > 0 then
  return 0
end
if number == '0' then
  number = redis.call('INCR', P .. 'arrivals')
end
local place = string.format('%016d:%d:%s', number, #ARGV - 10, id)
redis.call('HSET', keys[1], 'data', data, 'queue', queue, 'place', place, 'since', since,
  'suspended', suspended, 'players', table.concat(ARGV, '\n', 11))
own(id)
redis.call('PEXPIRE', keys[1], LIFETIME)
for i = 2, #keys do
  redis.call('SET', keys[i], id, 'PX', LIFETIME)
end
put_in(queue, place, since, suspended, options)
return redis.call('ZRANK', P .. 'queue:' .. queue .. ':places', place) + 1
