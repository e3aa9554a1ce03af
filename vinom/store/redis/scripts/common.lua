-- What every script begins with. What a step does says its method in vinom.store.interfaces.
--
-- KEYS[1]: the prefix of all keys, with its last colon.
-- ARGV[1]: the caller's deadline in the clock of this Redis, microseconds.
-- ARGV[2], ARGV[3]: id and lease number of the node that calls.
-- ARGV[4] and later: arguments of the step.
local P, call = KEYS[1], redis.call
local time = call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
-- A command that timed out is executed when Redis wakes: it must not write any more.
if now > tonumber(ARGV[1]) then
  return 'LATE'
end

-- How long a key of the queue or of a match lives after its last change, in ms.
local LIFETIME = 24 * 3600 * 1000

-- Write to a key, which is forgotten so many ms later; returns what the command answers.
local function write(milliseconds, command, key, ...)
  local answer = call(command, P .. key, ...)
  call('PEXPIRE', P .. key, milliseconds)
  return answer
end

local function is_stale(node, lease)
  local found = call('HMGET', P .. 'node:' .. node, 'lease', 'ends')
  return found[1] ~= lease or tonumber(found[2]) <= now
end

-- When the lease of a node ends or ended, in us; 0 if that is not known any more.
local function lease_ends(node)
  return tonumber(call('HGET', P .. 'node:' .. node, 'ends') or '0')
end

local function is_alive(node)
  return lease_ends(node) > now
end

-- Add a thing to those that the calling node has; before is another node that had it.
local function own(kinds, id, before)
  if before and before ~= ARGV[2] then
    call('SREM', P .. kinds .. '-of:' .. before, id)
  end
  write(LIFETIME, 'SADD', kinds .. '-of:' .. ARGV[2], id)
end

-- Find for how many microseconds a player has had no line to another node: 0 if there is one
-- to a node whose lease lasts, -1 if nobody knows, and 1 if the lease of the other node is
-- over: as a stop of Redis ends all leases, players are away only after abandon.
local function absence(player)
  local node = call('HGET', P .. 'line:' .. player, 'node')
  if node and node ~= ARGV[2] then
    return is_alive(node) and 0 or 1
  end
  local left = tonumber(call('GET', P .. 'left:' .. player))
  return left and math.max(1, now - left) or -1
end

-- Have the node that calls wait for a player; it forgets those for whom nobody waits so long.
local function await_return(player)
  write(LIFETIME, 'ZADD', 'away-of:' .. ARGV[2], string.format('%d', now), player)
  call('ZREMRANGEBYSCORE', P .. 'away-of:' .. ARGV[2], 0, now - 1000 * LIFETIME)
end

-- Note that a player has no line from now on. Nobody waits for a player longer than a day.
local function note_left(player)
  call('SET', P .. 'left:' .. player, string.format('%d', now), 'PX', LIFETIME)
  await_return(player)
end
