-- ARGV: queue, how many at most, and then the wait and the place of the last one of the part
-- before, unless this is the first part
-- Returns where the next part begins ('' after the last one), then data and place of each.
local ready, start, found = P .. 'queue:' .. ARGV[4] .. ':ready', 0, { '' }
if ARGV[7] then
  -- If it is gone, the next one has its rank.
  local was_gone = call('ZADD', ready, ARGV[6], ARGV[7])
  start = call('ZRANK', ready, ARGV[7]) + 1 - was_gone
  if was_gone == 1 then
    call('ZREM', ready, ARGV[7])
  end
end
local places = call('ZRANGE', ready, start, start + ARGV[5] - 1, 'WITHSCORES')
for i = 1, #places, 2 do
  local data = call('HGET', P .. 'entry:' .. places[i]:match('^%d+:%d+:(.*)$'), 'data')
  if data then
    found[#found + 1] = data
    found[#found + 1] = places[i]
  else
    move(-1, { queue = ARGV[4], place = places[i] })
  end
end
if #places == 2 * ARGV[5] then
  found[1] = places[#places] .. ' ' .. places[#places - 1]
end
return found
