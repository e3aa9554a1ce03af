-- Read a part of a queue, the longest wait first: queue, how many at most, and then the wait
-- and the place of the last one of the part before, unless this is the first part.
-- Returns where the next part begins ('' after the last one), then data and place of each.
local ready = P .. 'queue:' .. ARGV[4] .. ':ready'
local start = 0
if ARGV[7] then
  local rank = call('ZRANK', ready, ARGV[7])
  if rank then
    start = rank + 1
  else
    -- It is gone. Those that have waited as long as it follow in the order of their places.
    start = call('ZCOUNT', ready, '-inf', '(' .. ARGV[6])
    local equal = call('ZRANGEBYSCORE', ready, ARGV[6], ARGV[6])
    for _, place in ipairs(equal) do
      if place > ARGV[7] then
        break
      end
      start = start + 1
    end
  end
end
local found = { '' }
local places = call('ZRANGE', ready, start, start + ARGV[5] - 1, 'WITHSCORES')
for i = 1, #places, 2 do
  local data = call('HGET', P .. 'entry:' .. places[i]:match('^%d+:%d+:(.*)$'), 'data')
  if data then
    found[#found + 1] = data
    found[#found + 1] = places[i]
  else
    take_out(ARGV[4], places[i])
  end
end
if #places == 2 * ARGV[5] then
  found[1] = places[#places] .. ' ' .. places[#places - 1]
end
return found
