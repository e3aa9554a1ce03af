-- Forget a party: id, the version that was read
-- Returns 0 if it is gone, or its version is another, else 1; and what leave returns.
local version, state, game, players, entry =
  unpack(call('HMGET', P .. 'party:' .. ARGV[4], 'version', 'state', 'game', 'players', 'entry'))
if version ~= ARGV[5] then
  return { 0, {} }
end
forget_party(ARGV[4], state, game, players)
return { 1, leave(read_entry(entry)) }
