-- Find the party of a player: the player's id
-- Returns its data; '' if there is none.
local id = redis.call('GET', P .. 'party-of:' .. ARGV[4])
return id and redis.call('HGET', P .. 'party:' .. id, 'data') or ''
