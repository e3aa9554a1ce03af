-- Make an entry unmatchable, or matchable again, at its old place, and this node its owner: id,
-- 1 or 0
-- Returns 0 if it does not wait, or if it would be unmatchable and its players all have lines
-- to other nodes by now.
local entry = read('entry', ARGV[4])
if not entry or entry.match then
  return 0
end
local is_meant = ARGV[5] == '0'
for player in each(entry.players) do
  local node = call('HGET', P .. 'line:' .. player, 'node')
  is_meant = is_meant or not node or node == ARGV[2]
end
if not is_meant then
  return 0
end
if entry.suspended ~= ARGV[5] or entry.node ~= ARGV[2] then
  suspend(entry, ARGV[5])
  -- Its player may come from another node, which may be dead, or have left this one.
  take_over('entry', 'entries', entry.id, entry.node)
  keep(entry, LIFETIME)
  keep_queue(entry.queue)
end
return 1
