-- Which node has a player's newest line, and its epoch; nil if none has.
local function line_of(player)
  local found = call('HMGET', P .. 'line:' .. player, 'node', 'epoch')
  return found[1], tonumber(found[2])
end

-- Record a player's line at the node that calls; the node that had it is sent that it was
-- replaced, and may not listen.
local function set_line(player, epoch, before, older)
  write(LIFETIME, 'HSET', 'line:' .. player, 'node', ARGV[2], 'epoch', string.format('%d', epoch))
  own('lines', player, before)
  if before and before ~= ARGV[2] then
    call('PUBLISH', P .. 'to:' .. before, string.format('replaced\n%s\n%d', player, older))
  end
end

-- May the node that calls write? One that has not registered yet may: it was not silent.
local function may_write()
  return ARGV[3] == '0' or not is_stale(ARGV[2], ARGV[3])
end
