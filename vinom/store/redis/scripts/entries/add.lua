-- Store an entry, unless one of its players has one.
-- id, data, queue, since, suspended, the game's options, then the players' ids
-- Returns its place; 0 if it was not stored.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local id, data, queue, since, suspended = unpack(ARGV, 4, 8)
local keys = { P .. 'entry:' .. id }
for i = 10, #ARGV do
  keys[#keys + 1] = P .. 'entry-of:' .. ARGV[i]
end
if redis.call('EXISTS', unpack(keys)) > 0 then
  return 0
end
local players = #ARGV - 9
local number = redis.call('INCR', P .. 'arrivals')
local place = string.format('%016d:%d:%s', number, players, id)
redis.call('HSET', P .. 'entry:' .. id, 'data', data, 'queue', queue, 'place', place,
  'suspended', suspended, 'players', table.concat(ARGV, '\n', 10))
own(id)
redis.call('PEXPIRE', P .. 'entry:' .. id, LIFETIME)
for i = 2, #keys do
  redis.call('SET', keys[i], id, 'PX', LIFETIME)
end
local its = P .. 'queue:' .. queue
redis.call('ZADD', its .. ':places', since, place)
redis.call('ZADD', P .. 'waiting', since, queue .. '\n' .. place)
redis.call('HSET', its, 'options', ARGV[9])
redis.call('HINCRBY', its, 'players', players)
redis.call('HINCRBY', P .. 'queued', queue:match('^(.*):'), players)
if suspended == '1' then
  redis.call('HINCRBY', P .. 'queued', ':suspended', 1)
else
  redis.call('ZADD', its .. ':ready', since, place)
  redis.call('HINCRBY', its, 'ready', players)
  redis.call('PEXPIRE', its .. ':ready', LIFETIME)
end
-- What counts entries lives as long as the last of them.
for _, key in ipairs({ its, its .. ':places', P .. 'waiting', P .. 'queued', P .. 'arrivals' }) do
  redis.call('PEXPIRE', key, LIFETIME)
end
return redis.call('ZRANK', its .. ':places', place) + 1
