-- ARGV: id of a player, kind, an address. Returns how many rooms players of that address have
-- opened; then id, data and age in ms of each room in which the player has a seat. Without a
-- player of rooms that no node has, those first in which something is due next; at most how many.
local most = tonumber(ARGV[7] or 'inf')
local found = { call('HGET', P .. 'lasting-by', ARGV[6]) or '0' }
local ids = ID ~= '' and call('HKEYS', P .. 'games-of:' .. ID) or call('ZRANGE', P .. FREE, 0, 40 * most)
for _, id in ipairs(ids) do
  local node, released = unpack(call('HMGET', P .. 'room:' .. id, 'node', 'released'))
  local data = (ID ~= '' or node == '') and data_of(id)
  if data and #found < 3 * most then
    local age = math.max(0, math.floor((now - released) / 1000))
    for _, one in ipairs({ id, data, tostring(age) }) do
      found[#found + 1] = one
    end
  elseif ID ~= '' then
    call('HDEL', P .. 'games-of:' .. ID, id)
  end
end
return found
