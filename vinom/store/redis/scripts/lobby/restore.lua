local id, plan, placement, players, ids = unpack(ARGV, 4, 8)
local match, its = read('match', id) or { plan = plan, entries = ids }, set_of(ids)
if match.node and match.node ~= ARGV[2] then
  return 0
end
for player in each(players) do
  local ended = call('GET', P .. 'end-of:' .. player)
  if ended and cjson.decode(ended)['end'].match_id == id then
    return 0
  end
end
for player in each(players) do
  -- Not a player who has got another match since then.
  if call('SET', P .. 'match-of:' .. player, id, 'PX', LIFETIME, 'NX') then
    local entry = read('entry', call('GET', P .. 'entry-of:' .. player))
    leave(entry, entry and its[entry.id] and id)
  end
end
record(id, match.plan, match.players or players, match.entries)
if placement ~= '' then
  call('HSET', P .. 'match:' .. id, 'placement', placement)
end
return 1
