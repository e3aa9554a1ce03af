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
