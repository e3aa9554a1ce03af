-- Count the players of all queues.
-- Returns since when the longest wait is ('' if nobody waits), then pairs: a game and its
-- players; ':suspended' and the number of suspended entries.
local since = ''
for _ = 1, MOST_GONE do
  local found = redis.call('ZRANGE', P .. 'waiting', 0, 0, 'WITHSCORES')
  if not found[1] then
    break
  end
  if exists(found[1]:match('^(.*)\n(.*)$')) then
    since = found[2]
    break
  end
end
local counts = redis.call('HGETALL', P .. 'queued')
table.insert(counts, 1, since)
return counts
