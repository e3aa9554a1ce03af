-- Remove all of these entries, or none: ids
-- Returns 0 if one of them is gone, suspended or in a prematch.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local claimed = {}
for i = 4, #ARGV do
  local found = redis.call('HMGET', P .. 'entry:' .. ARGV[i], 'queue', 'place', 'players',
    'node', 'suspended', 'prematch')
  if found[5] ~= '0' or found[6] then
    return 0
  end
  claimed[ARGV[i]] = found
end
for id, found in pairs(claimed) do
  remove(id, found[1], found[2], found[3], found[4])
end
return 1
