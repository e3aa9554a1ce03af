-- Count the players of all queues.
-- Returns since when the longest wait is ('' if nobody waits), then pairs: a game and its
-- players; ':suspended' and the number of suspended entries.
local since = ''
repeat
  local found = redis.call('ZRANGE', P .. 'waiting', 0, 0, 'WITHSCORES')
  if not found[1] then
    break
  end
  since = found[2]
until exists(found[1]:match('^(.*)\n(.*)$'))
if redis.call('EXISTS', P .. 'waiting') == 0 then
  since = ''
end
local counts = redis.call('HGETALL', P .. 'queued')
table.insert(counts, 1, since)
return counts
