-- Let a player of a running match play another one: id, player's id
-- A party of which nobody is left in the match is idle then.
-- Returns 0 if the player is not in this match.
local match, player = read('match', ARGV[4]), ARGV[5]
local stay = set_of(match and match.players or '')
if not stay[player] then
  return 0
end
stay[player] = nil
local players = {}
for one in pairs(stay) do
  players[#players + 1] = one
end
call('HSET', P .. 'match:' .. match.id, 'players', table.concat(players, '\n'))
lead('match', player)
for entry_id in each(match.entries) do
  local entry = read('entry', entry_id)
  local its, is_left = set_of(entry and entry.players or ''), false
  for one in pairs(its) do
    is_left = is_left or stay[one]
  end
  if its[player] and not is_left then
    follow(entry, 'idle')
  end
end
return 1
