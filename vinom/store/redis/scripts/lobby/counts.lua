-- Count the players of all queues, and the parties: states of parties
-- Returns since when the longest wait is ('' if nobody waits); how many parties are in each
-- state; then pairs: a game and its players, ':suspended' and the number of suspended entries.
local found = { oldest(P .. 'waiting') }
for i = 4, #ARGV do
  local key = P .. 'parties-in:' .. ARGV[i]
  call('ZREMRANGEBYSCORE', key, '-inf', now)
  found[#found + 1] = call('ZCARD', key)
end
for _, one in ipairs(call('HGETALL', P .. 'queued')) do
  found[#found + 1] = one
end
return found
