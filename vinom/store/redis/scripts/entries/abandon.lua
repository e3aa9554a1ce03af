-- Take over entries of a node that is gone, and end its prematches: its id, how many at
-- most, for how many ms
-- The node that calls owns the entries from now on. An entry is suspended unless each of its
-- players has a line to a node whose lease lasts; it then expires, unless it is resumed
-- before. Nobody waits for answers to the prematches: their entries go back.
-- Returns how many entries and prematches there were; the players of these entries who have
-- no line at all; and the prematches, as they were.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
if is_alive(ARGV[4]) then
  -- It came back meanwhile.
  return { 0, {}, {} }
end
local ended, alone = {}, {}
local prematches = redis.call('SPOP', P .. 'prematches-of:' .. ARGV[4], ARGV[5])
for _, id in ipairs(prematches) do
  local prematch, listed = read_prematch(id)
  if prematch then
    end_prematch(id, prematch, function()
      return false
    end)
    ended[#ended + 1] = listed
  end
end
local ids = redis.call('SPOP', P .. 'entries-of:' .. ARGV[4], ARGV[5])
for _, id in ipairs(ids) do
  local queue, place, suspended, players, prematch = unpack(redis.call('HMGET',
    P .. 'entry:' .. id, 'queue', 'place', 'suspended', 'players', 'prematch'))
  if queue then
    local are_here = true
    for player in players:gmatch('[^\n]+') do
      local node = redis.call('HGET', P .. 'line:' .. player, 'node')
      if not node then
        alone[#alone + 1] = player
      end
      are_here = are_here and node and is_alive(node)
    end
    if not are_here then
      if suspended == '0' then
        suspend(id, queue, place, prematch)
      end
      keep(id, players, ARGV[6])
    end
    own(id)
  end
end
return { #ids + #prematches, alone, ended }
