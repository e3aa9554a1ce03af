-- Find the places of entries in their queues: ids
-- Returns as many numbers; 0 for an entry that is gone, or in a prematch or match.
local found = {}
for i = 4, #ARGV do
  local queue, place, prematch, match =
    unpack(call('HMGET', P .. 'entry:' .. ARGV[i], 'queue', 'place', 'prematch', 'match'))
  found[i - 3] = queue and not prematch and not match
    and call('ZRANK', P .. 'queue:' .. queue .. ':places', place) + 1 or 0
end
return found
