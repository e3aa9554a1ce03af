-- ARGV: hash of the key, the time, and, if it is kept for longer from now on, until when, and
-- that in ms. Returns its data, or ''.
local hash = ARGV[4]
local player, data, ends = unpack(call('HMGET', P .. 'player:' .. hash, 'id', 'data', 'until'))
if not data or tonumber(ends) <= tonumber(ARGV[5]) then
  return ''
end
if ARGV[6] then
  -- Who has a seat in a lasting room is kept for longer.
  if tonumber(ARGV[6]) > tonumber(ends) then
    keep(hash, player, ARGV[6], ARGV[7])
    call('SET', P .. 'key-of:' .. player, hash, 'PX', ARGV[7])
  end
  call('ZREM', P .. 'guests', player)
end
return data
