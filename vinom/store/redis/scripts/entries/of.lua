-- Find the entry of a player: the player's id
-- Returns its data, and whether it is suspended; nothing if there is none.
local id = redis.call('GET', P .. 'entry-of:' .. ARGV[4])
if not id then
  return {}
end
local data, suspended = unpack(redis.call('HMGET', P .. 'entry:' .. id, 'data', 'suspended'))
if not data then
  return {}
end
return { data, suspended }
