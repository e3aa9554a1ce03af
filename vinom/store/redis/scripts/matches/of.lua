-- Find the running match of a player: the player's id
-- Returns its plan and placement ('' without one); nothing if there is none.
local id = redis.call('GET', P .. 'match-of:' .. ARGV[4])
if not id then
  return {}
end
local plan, placement = unpack(redis.call('HMGET', P .. 'match:' .. id, 'plan', 'placement'))
if not plan then
  return {}
end
return { plan, placement or '' }
