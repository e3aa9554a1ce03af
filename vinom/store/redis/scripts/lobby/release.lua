-- Let a player of a running match play another one: id, player's id
-- A party of which nobody is left in the match is idle then.
-- Returns 0 if the player is not in this match.
local key = P .. 'match:' .. ARGV[4]
if call('HDEL', key, 'player:' .. ARGV[5]) == 0 then
  return 0
end
call('DEL', P .. 'match-of:' .. ARGV[5])
for entry_id in each(call('HGET', key, 'entries') or '') do
  local entry, is_empty, is_its = read_entry(entry_id), true, false
  for player in each(entry and entry.players or '') do
    is_its = is_its or player == ARGV[5]
    is_empty = is_empty and call('HEXISTS', key, 'player:' .. player) == 0
  end
  if is_its and is_empty then
    follow(entry, 'idle')
  end
end
return 1
