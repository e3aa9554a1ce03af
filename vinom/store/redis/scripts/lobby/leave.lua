-- Take the entry of a player out: the player, its id ('' for any), and for how many microseconds
-- the player must have had no line to another node (0 does not ask)
-- Returns what leave returns.
local id = call('GET', P .. 'entry-of:' .. ARGV[4])
if not id or ARGV[5] ~= '' and ARGV[5] ~= id then
  return {}
end
if ARGV[6] ~= '0' then
  local node = call('HGET', P .. 'line:' .. ARGV[4], 'node')
  local left = tonumber(call('GET', P .. 'left:' .. ARGV[4]))
  if node and node ~= ARGV[2] or left and now - left < tonumber(ARGV[6]) then
    return {}
  end
end
return leave(read_entry(id))
