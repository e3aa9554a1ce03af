-- Make an entry matchable again, at its old place, and this node its owner: id
-- Returns 0 if it is gone.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local key = P .. 'entry:' .. ARGV[4]
local queue, place, suspended, players, node, prematch = unpack(redis.call('HMGET', key,
  'queue', 'place', 'suspended', 'players', 'node', 'prematch'))
if not queue then
  return 0
end
if suspended == '1' then
  redis.call('HSET', key, 'suspended', 0)
end
if suspended == '1' and not prematch then
  local its = P .. 'queue:' .. queue
  redis.call('ZADD', its .. ':ready', redis.call('ZSCORE', its .. ':places', place), place)
  redis.call('HINCRBY', its, 'ready', tonumber(place:match('^%d+:(%d+):')))
  redis.call('HINCRBY', P .. 'queued', ':suspended', -1)
end
if node ~= ARGV[2] then
  -- Its player came here from another node, which may be dead.
  own(ARGV[4], node)
end
if suspended == '1' or node ~= ARGV[2] then
  keep(ARGV[4], players, LIFETIME)
  keep_queue(queue)
end
return 1
