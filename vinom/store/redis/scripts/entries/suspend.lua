-- Make an entry unmatchable: id
-- Returns 0 if it is gone.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local queue, place, suspended, prematch = unpack(redis.call('HMGET',
  P .. 'entry:' .. ARGV[4], 'queue', 'place', 'suspended', 'prematch'))
if not queue then
  return 0
end
if suspended == '0' then
  suspend(ARGV[4], queue, place, prematch)
end
return 1
