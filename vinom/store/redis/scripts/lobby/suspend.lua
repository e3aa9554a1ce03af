-- Make an entry unmatchable, or matchable again, at its old place, and this node its owner: id,
-- 1 or 0
-- Returns 0 if it does not wait, or if it would be unmatchable and its players all have lines
-- to other nodes by now.
local entry, is_elsewhere = read('entry', ARGV[4]), ARGV[5] == '1'
for player in each(entry and entry.players or '') do
  local node = call('HGET', P .. 'line:' .. player, 'node')
  is_elsewhere = is_elsewhere and node and node ~= ARGV[2]
end
if not entry or entry.match or is_elsewhere then
  return 0
end
suspend(entry, ARGV[5])
if ARGV[5] == '0' then
  -- Its player may come from another node, which may be dead.
  take_over('entry', 'entries', entry.id, entry.node)
  keep(entry, LIFETIME)
end
return 1
