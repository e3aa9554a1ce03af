-- Find the entry of a player: the player's id
-- Returns its data, place, and whether it is suspended; nothing if there is none.
local id = redis.call('GET', P .. 'entry-of:' .. ARGV[4])
if not id then
  return {}
end
local found = redis.call('HMGET', P .. 'entry:' .. id, 'data', 'place', 'suspended')
return found[1] and found or {}
