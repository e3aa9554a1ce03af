-- Take over entries of a node that is gone, and those for whom it waited; end its prematches and
-- lines: its id, how many at most, for how many ms an entry may stay suspended
-- It is suspended unless each of its players has a line to a node whose lease lasts. Nobody
-- waits for answers to the prematches: their entries go back.
-- Returns how many entries, prematches, lines and players who were away there were; those who
-- have no line, to be waited for; and the prematches, as they were.
if is_alive(ARGV[4]) then
  return { 0, {}, {} }
end
local ended, alone = {}, {}
local prematches = call('SPOP', P .. 'prematches-of:' .. ARGV[4], ARGV[5])
for _, id in ipairs(prematches) do
  local prematch, listed = read('prematch', id)
  if prematch then
    end_prematch(prematch, {})
    ended[#ended + 1] = listed
  end
end
local ids = call('SPOP', P .. 'entries-of:' .. ARGV[4], ARGV[5])
for _, id in ipairs(ids) do
  local entry = read('entry', id)
  if entry then
    local all_here, without = are_here(entry)
    for _, player in ipairs(without) do
      alone[#alone + 1] = player
    end
    if not all_here then
      suspend(entry, '1')
      keep(entry, ARGV[6])
    end
    take_over('entry', 'entries', id)
  end
end
local lines = call('SPOP', P .. 'lines-of:' .. ARGV[4], ARGV[5])
for _, player in ipairs(lines) do
  if call('HGET', P .. 'line:' .. player, 'node') == ARGV[4] then
    call('DEL', P .. 'line:' .. player)
    note_left(player)
    alone[#alone + 1] = player
  end
end
local away = call('ZPOPMIN', P .. 'away-of:' .. ARGV[4], ARGV[5])
for i = 1, #away, 2 do
  if call('EXISTS', P .. 'line:' .. away[i]) == 0 then
    await_return(away[i])
    alone[#alone + 1] = away[i]
  end
end
return { #ids + #prematches + #lines + #away, alone, ended }
