-- End a prematch, and put its entries back: its id, the name of the node that makes its
-- match, if that is started, then the ids of entries to forget
-- Returns the prematch as it was; nothing if it is gone, or another node makes the match.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local prematch, listed = read_prematch(ARGV[4])
if not prematch or prematch.started_by ~= '' and prematch.started_by ~= ARGV[5] then
  return {}
end
local without = {}
for i = 6, #ARGV do
  without[ARGV[i]] = true
end
end_prematch(ARGV[4], prematch, function(entry)
  return without[entry]
end)
return listed
