-- Shared by the steps on players.
--
-- 'players' counts those who are stored, by the end of their lifetimes; 'guests' lists
-- likewise those who have only said hello.

-- Does a player wait or play, or is the player in a party?
local function is_needed(player)
  local keys = { P .. 'entry-of:' .. player, P .. 'match-of:' .. player, P .. 'party-of:' .. player }
  return redis.call('EXISTS', unpack(keys)) > 0
end

-- Forget the oldest guest who only said hello, and neither waits nor plays.
-- Returns whether there was one.
local function forget_guest()
  for _ = 1, 64 do
    local player = redis.call('ZPOPMIN', P .. 'guests')[1]
    if not player then
      return false
    end
    local hash = redis.call('GET', P .. 'guest:' .. player)
    redis.call('DEL', P .. 'guest:' .. player)
    if hash and not is_needed(player) then
      redis.call('DEL', P .. 'player:' .. hash)
      redis.call('ZREM', P .. 'players', hash)
      return true
    end
  end
  return false
end

-- Forget one of those whose keys were used longest ago, if one neither waits nor plays.
local function forget_player()
  for _, hash in ipairs(redis.call('ZRANGE', P .. 'players', 0, 63)) do
    local data = redis.call('GET', P .. 'player:' .. hash)
    local player = data and cjson.decode(data).player.player_id
    if not player or not is_needed(player) then
      redis.call('DEL', P .. 'player:' .. hash)
      if player and redis.call('GET', P .. 'key-of:' .. player) == hash then
        redis.call('DEL', P .. 'key-of:' .. player)
      end
      redis.call('ZREM', P .. 'players', hash)
      return true
    end
  end
  return false
end

-- Make room for one more player; false if that is not possible.
local function make_room(most)
  for _, key in ipairs({ P .. 'players', P .. 'guests' }) do
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  end
  return redis.call('ZCARD', P .. 'players') < tonumber(most)
    or forget_guest()
    or forget_player()
end

-- Store a player by the hash of its key.
local function store(hash, data, milliseconds)
  redis.call('SET', P .. 'player:' .. hash, data, 'PX', milliseconds)
  redis.call('ZADD', P .. 'players', now + milliseconds * 1000, hash)
  redis.call('PEXPIRE', P .. 'players', milliseconds + LIFETIME)
end
