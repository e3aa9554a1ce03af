-- Returns why not: 'gone', or 'playing' and who does, of its entries' players only those who
-- wait all the same; '' if it is recorded, and, if it has no entries, what leave returns about
-- each entry that one of its players had.
local id, plan, prematch_id, players, ids = unpack(ARGV, 4, 8)
if call('EXISTS', P .. 'match:' .. id) == 1 then
  return { '' }
end
local found, is_playing = { 'playing' }, false
for player in each(players) do
  if call('EXISTS', P .. 'match-of:' .. player) == 1 then
    is_playing = true
    if ids == '' or call('EXISTS', P .. 'entry-of:' .. player) == 1 then
      found[#found + 1] = player
    end
  end
end
if is_playing then
  return found
end
local prematch = prematch_id ~= '' and read('prematch', prematch_id)
local is_agreed = prematch and prematch.entries == ids and not next(silent_in(prematch))
local entries = (prematch_id == '' or is_agreed) and read_all(ids, prematch_id)
if not entries then
  return { 'gone' }
end
found = { '' }
for player in each(entries[1] and '' or players) do
  local entry = read('entry', call('GET', P .. 'entry-of:' .. player))
  found[#found + 1] = leave(entry)
end
if prematch then
  end_prematch(prematch, set_of(ids), id)
else
  for _, entry in ipairs(entries) do
    take(entry, id)
  end
end
lead('match', players, id, LIFETIME)
record(id, plan, players, ids)
return found
