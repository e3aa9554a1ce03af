-- Take the entry of a player out: the player, its id ('' for any), for how many seconds the
-- player must have had no line to another node (0 does not ask), and 1 if it must be ready
-- Returns what leave returns.
local id = call('GET', P .. 'entry-of:' .. ARGV[4])
if not id or ARGV[5] ~= '' and ARGV[5] ~= id then
  return {}
end
if tonumber(ARGV[6]) > 0 then
  local node = call('HGET', P .. 'line:' .. ARGV[4], 'node')
  local left = tonumber(call('GET', P .. 'left:' .. ARGV[4]))
  if node and node ~= ARGV[2] or left and now - left < 1e6 * ARGV[6] then
    return {}
  end
end
local entry = read('entry', id)
return (ARGV[7] == '0' or is_ready(entry)) and leave(entry) or {}
