-- ARGV: id of a player, kind, an address. Returns how many rooms players of that address have
-- opened; then id, data and age in ms of each room in which the player has a seat.
local found = { call('HGET', P .. 'lasting-by', ARGV[6]) or '0' }
for _, id in ipairs(call('HKEYS', P .. 'games-of:' .. ID)) do
  local data, released = data_of(id), call('HGET', P .. 'room:' .. id, 'released')
  if data then
    for _, one in ipairs({ id, data, tostring(math.max(0, math.floor((now - released) / 1000))) }) do
      found[#found + 1] = one
    end
  else
    call('HDEL', P .. 'games-of:' .. ID, id)
  end
end
return found
