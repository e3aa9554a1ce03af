-- Remove an entry: id
-- Returns 0 if it is not there.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local found = 
  redis.call('HMGET', P .. 'entry:' .. ARGV[4], 'queue', 'place', 'players', 'node')
if not found[1] then
  return 0
end
remove(ARGV[4], unpack(found))
return 1
