-- Suspend entries of a node that is gone: its id, how many at most, for how many ms
-- They then expire, unless their players come back to another node (resume). Its prematches
-- end: nobody waits for their answers, and their entries go back.
-- Returns how many entries and prematches there were.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
if is_alive(ARGV[4]) then
  -- It came back meanwhile.
  return 0
end
local prematches = redis.call('SPOP', P .. 'prematches-of:' .. ARGV[4], ARGV[5])
for _, id in ipairs(prematches) do
  local prematch = read_prematch(id)
  if prematch then
    end_prematch(id, prematch, function()
      return false
    end)
  end
end
local ids = redis.call('SPOP', P .. 'entries-of:' .. ARGV[4], ARGV[5])
for _, id in ipairs(ids) do
  local queue, place, suspended, players, prematch = unpack(redis.call('HMGET',
    P .. 'entry:' .. id, 'queue', 'place', 'suspended', 'players', 'prematch'))
  if queue then
    if suspended == '0' then
      suspend(id, queue, place, prematch)
    end
    keep(id, players, ARGV[6])
  end
end
return #ids + #prematches
