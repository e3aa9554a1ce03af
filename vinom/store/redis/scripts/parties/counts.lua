-- Count the parties: states
-- Returns how many are in each.
local found = {}
for i = 4, #ARGV do
  local key = P .. 'parties-in:' .. ARGV[i]
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  found[#found + 1] = redis.call('ZCARD', key)
end
return found
