-- Make an entry unmatchable: id
-- Returns 0 if it does not wait, or if its players all have lines to other nodes by now.
local entry = read_entry(ARGV[4])
if not entry or entry.match then
  return 0
end
local is_left = false
for player in each(entry.players) do
  local node = call('HGET', P .. 'line:' .. player, 'node')
  is_left = is_left or not node or node == ARGV[2]
end
if not is_left then
  return 0
end
suspend(entry)
return 1
