-- Times are seconds since the Unix epoch, of the nodes'
-- clocks; Redis' own lifetimes only clear up.

-- The rating of a player in a list, in bytes; nil for a newcomer.
local function rating_of(list, player, at)
  local found = call('HMGET', P .. 'rating:' .. list .. ':' .. player, 'rating', 'until')
  if found[1] and tonumber(found[2]) > at then
    return found[1]
  end
end
