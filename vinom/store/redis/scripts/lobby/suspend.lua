-- Make an entry unmatchable, or matchable again, at its old place, and this node its owner: id,
-- 1 or 0
-- Returns 0 if it does not wait, or if it would be unmatchable and its players all have lines
-- to other nodes by now.
local entry = read('entry', ARGV[4])
if not entry or entry.match then
  return 0
end
if ARGV[5] == '1' then
  for player in each(entry.players) do
    local node = call('HGET', P .. 'line:' .. player, 'node')
    if not node or node == ARGV[2] then
      suspend(entry, '1')
      return 1
    end
  end
  return 0
end
if entry.suspended == '1' or entry.node ~= ARGV[2] then
  suspend(entry, '0')
  -- Its player may come from another node, which may be dead.
  take_over('entry', 'entries', entry.id, entry.node)
  keep(entry, LIFETIME)
  keep_queue(entry.queue)
end
return 1
