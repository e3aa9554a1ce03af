-- Shared by the steps on players' lines.

-- Which node has a player's newest line, and its epoch; nil if none has.
local function line_of(player)
  local found = call('HMGET', P .. 'line:' .. player, 'node', 'epoch')
  return found[1], tonumber(found[2])
end

-- Record a player's line at the node that calls.
local function set_line(player, epoch)
  local key, own = P .. 'line:' .. player, P .. 'lines-of:' .. ARGV[2]
  local node = call('HGET', key, 'node')
  if node and node ~= ARGV[2] then
    call('SREM', P .. 'lines-of:' .. node, player)
  end
  call('HSET', key, 'node', ARGV[2], 'epoch', string.format('%d', epoch))
  call('SADD', own, player)
  call('PEXPIRE', key, LIFETIME)
  call('PEXPIRE', own, LIFETIME)
end

-- Note that a player has no line from now on. Nobody waits for a player longer than a day.
local function note_left(player)
  call('SET', P .. 'left:' .. player, string.format('%d', now), 'PX', LIFETIME)
end

-- Send a node a message: a hint, which is lost if it does not listen.
local function publish(node, message)
  call('PUBLISH', P .. 'to:' .. node, message)
end

-- May the node that calls write? One that has not registered yet may: it was not silent.
local function may_write()
  return ARGV[3] == '0' or not is_stale(ARGV[2], ARGV[3])
end
