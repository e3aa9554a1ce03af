-- List the matchable entries of a queue, the longest wait first: queue, how many at most
-- Returns data and place of each.
local found = {}
local places = redis.call('ZRANGE', P .. 'queue:' .. ARGV[4] .. ':ready', 0, ARGV[5] - 1)
for _, place in ipairs(places) do
  local data = redis.call('HGET', P .. 'entry:' .. place:match('^%d+:%d+:(.*)$'), 'data')
  if data then
    found[#found + 1] = data
    found[#found + 1] = place
  else
    take_out(ARGV[4], place)
  end
end
return found
