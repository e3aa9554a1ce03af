-- Suspend entries of a node that is gone: its id, how many at most, for how many ms
-- They then expire, unless their players come back to another node (resume).
-- Returns how many there were.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local ids = redis.call('SPOP', P .. 'entries-of:' .. ARGV[4], ARGV[5])
for _, id in ipairs(ids) do
  local queue, place, suspended, players =
    unpack(redis.call('HMGET', P .. 'entry:' .. id, 'queue', 'place', 'suspended', 'players'))
  if queue then
    if suspended == '0' then
      suspend(id, queue, place)
    end
    keep(id, players, ARGV[6])
  end
end
return #ids
