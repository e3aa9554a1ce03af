local id, ended, lifetime, ids = unpack(ARGV, 4, 7)
local match, again = read('match', id), set_of(ids)
if not match or (match.node ~= ARGV[2] and is_alive(match.node)) then
  return 0
end
local players = those_in(match.id, match.players)
call('SREM', P .. 'matches-of:' .. match.node, match.id)
call('DEL', P .. 'match:' .. match.id)
lead('match', players)
lead('end', players, ended, lifetime)
-- Has no player of an entry found something else, and is its party as it was?
local function may_wait(entry)
  local party = read('party', entry.party) or { entry = entry.id, players = entry.players }
  local may = party.entry == entry.id and party.players == entry.players
  for player in each(entry.players) do
    may = may and call('EXISTS', P .. 'entry-of:' .. player, P .. 'match-of:' .. player) == 0
      and (call('GET', P .. 'party-of:' .. player) or '') == entry.party
  end
  return may
end
for entry_id in each(match.entries) do
  local entry = read('entry', entry_id)
  if entry and entry.match == match.id then
    if again[entry_id] and may_wait(entry) then
      take_over('entry', 'entries', entry_id)
      wait(entry)
      suspend(entry, are_here(entry) and '0' or '1')
      keep(entry, LIFETIME)
      for player in each(entry.suspended == '1' and entry.players or '') do
        await_return(player)
      end
    else
      call('DEL', P .. 'entry:' .. entry_id)
      follow(entry, 'idle')
    end
  end
end
return 1
