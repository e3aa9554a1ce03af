-- Store a player: hash of the key, the player's id, until when (seconds), that in ms, data,
-- most players, and the origin: 'login', 'guest', or 'lost' if a Redis that was lost had it
-- Returns 0 if the store is full of players who are needed, which only refuses guests; or if
-- the key of one who was lost is known.
local hash, player, expires_at, milliseconds, data, most, origin = unpack(ARGV, 4, 10)
local is_known = call('EXISTS', P .. 'player:' .. hash) == 1
if is_known and origin == 'lost' or not is_known and not make_room(most) and origin == 'guest' then
  return 0
end
keep(hash, player, expires_at, milliseconds, 'data', data)
if origin ~= 'lost' or call('EXISTS', P .. 'key-of:' .. player) == 0 then
  call('SET', P .. 'key-of:' .. player, hash, 'PX', milliseconds)
end
if origin == 'guest' then
  write(milliseconds + LIFETIME, 'ZADD', 'guests', now + milliseconds * 1000, player)
else
  call('ZREM', P .. 'guests', player)
end
return 1
