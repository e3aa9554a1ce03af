-- Returns since when the longest wait is ('' if nobody waits); how many parties are in each of
-- the given states; and pairs: a game and its players, ':suspended' and a number of entries.
local parties = {}
for i = 4, #ARGV do
  local key = P .. 'parties-in:' .. ARGV[i]
  call('ZREMRANGEBYSCORE', key, '-inf', now)
  parties[i - 3] = call('ZCARD', key)
end
return { oldest(P .. 'waiting'), parties, call('HGETALL', P .. 'queued') }
