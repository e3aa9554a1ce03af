-- Returns how many of all there were, whom they concern, and the prematches as they were; of the
-- caller itself those for whom it waits.
local from, most, lifetime = unpack(ARGV, 4, 6)
if is_alive(from) then
  return { 0, from == ARGV[2] and call('ZRANGE', P .. 'away-of:' .. from, 0, most) or {}, {} }
end
local ended, players = {}, {}
local prematches = call('SPOP', P .. 'prematches-of:' .. from, most)
for _, id in ipairs(prematches) do
  local prematch, listed = read('prematch', id)
  if prematch then
    end_prematch(prematch, {})
    ended[#ended + 1] = listed
  end
end
local ids = call('SPOP', P .. 'entries-of:' .. from, most)
for _, id in ipairs(ids) do
  local entry = read('entry', id)
  if entry and not entry.match then
    for player in each(entry.players) do
      players[#players + 1] = player
    end
    if not are_here(entry) then
      suspend(entry, '1')
      keep(entry, lifetime)
    end
    take_over('entry', 'entries', id)
  end
end
local lines = call('SPOP', P .. 'lines-of:' .. from, most)
for _, player in ipairs(lines) do
  if call('HGET', P .. 'line:' .. player, 'node') == from then
    call('DEL', P .. 'line:' .. player)
    note_left(player)
    players[#players + 1] = player
  end
end
local away = call('ZPOPMIN', P .. 'away-of:' .. from, most)
for i = 1, #away, 2 do
  if call('EXISTS', P .. 'line:' .. away[i]) == 0 then
    await_return(away[i])
    players[#players + 1] = away[i]
  end
end
return { #ids + #prematches + #lines + #away, players, ended }
