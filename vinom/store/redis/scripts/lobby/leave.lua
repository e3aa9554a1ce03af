-- Take the entry of a player out: the player, its id ('' for any), for how many seconds the
-- player must have had no line to another node (0 does not ask), and 1 if it must be ready
-- Returns what leave returns.
local id = call('GET', P .. 'entry-of:' .. ARGV[4])
if not id or ARGV[5] ~= '' and ARGV[5] ~= id then
  return {}
end
local entry, away = read('entry', id), tonumber(ARGV[6]) > 0 and absence(ARGV[4]) or -1
if away >= 0 and away < 1e6 * ARGV[6] or ARGV[7] == '1' and not is_ready(entry) then
  return {}
end
return leave(entry)
