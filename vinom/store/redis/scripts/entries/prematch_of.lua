-- Find the prematch of a player: the player's id
-- Returns its fields; nothing if there is none.
local id = redis.call('GET', P .. 'entry-of:' .. ARGV[4])
local prematch = id and redis.call('HGET', P .. 'entry:' .. id, 'prematch')
return prematch and redis.call('HGETALL', P .. 'prematch:' .. prematch) or {}
