-- Count the players of all queues, and the parties: states of parties
-- Returns since when the longest wait is ('' if nobody waits); how many parties are in each
-- state; then pairs: a game and its players, ':suspended' and the number of suspended entries.
local found = { '' }
for _ = 1, MOST_GONE do
  local oldest = call('ZRANGE', P .. 'waiting', 0, 0, 'WITHSCORES')
  if not oldest[1] then
    break
  end
  if exists(oldest[1]:match('^(.*)\n(.*)$')) then
    found[1] = oldest[2]
    break
  end
end
for i = 4, #ARGV do
  local key = P .. 'parties-in:' .. ARGV[i]
  call('ZREMRANGEBYSCORE', key, '-inf', now)
  found[#found + 1] = call('ZCARD', key)
end
for _, one in ipairs(call('HGETALL', P .. 'queued')) do
  found[#found + 1] = one
end
return found
