-- 'players' has the hashes of all keys by the ends of their lifetimes, to count them;
-- 'guests' likewise the ids of guests who have only said hello.

-- Forget a player, by the hash of a key, who neither waits nor plays nor is in a party.
-- Who has a seat in a lasting room plays.
-- Returns whether that made room.
local function forget(hash)
  local player = call('HGET', P .. 'player:' .. hash, 'id') or ''
  local of = '-of:' .. player
  local needed = { 'entry', 'match', 'party', 'games' }
  for i, kind in ipairs(needed) do
    needed[i] = P .. kind .. of
  end
  if call('EXISTS', unpack(needed)) > 0 then
    return false
  end
  call('DEL', P .. 'player:' .. hash)
  if call('GET', P .. 'key-of:' .. player) == hash then
    call('DEL', P .. 'key-of:' .. player)
  end
  return call('ZREM', P .. 'players', hash) == 1
end

-- Make room for one more player: the oldest guest who has only said hello is forgotten, or
-- else one whose key was used longest ago. Returns whether there is room.
local function make_room(most)
  for _, key in ipairs({ P .. 'players', P .. 'guests' }) do
    call('ZREMRANGEBYSCORE', key, '-inf', now)
  end
  if call('ZCARD', P .. 'players') < tonumber(most) then
    return true
  end
  for _ = 1, 64 do
    local player = call('ZPOPMIN', P .. 'guests')[1]
    local hash = player and call('GET', P .. 'key-of:' .. player)
    if hash and forget(hash) then
      return true
    end
  end
  for _, hash in ipairs(call('ZRANGE', P .. 'players', 0, 63)) do
    if forget(hash) then
      return true
    end
  end
  return false
end

-- Let a player be found by this key: until when (seconds, of the nodes' clocks), that in ms,
-- and more fields of the hash. Nothing may be written to it after that: it may be 1 ms.
local function keep(hash, player, expires_at, milliseconds, ...)
  write(milliseconds, 'HSET', 'player:' .. hash, 'id', player, 'until', expires_at, ...)
  write(milliseconds + LIFETIME, 'ZADD', 'players', now + milliseconds * 1000, hash)
end
