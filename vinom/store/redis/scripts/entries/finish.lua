-- Forget a prematch and its entries: its id, the name of the node that makes its match
-- Returns 0 if it is gone, or that is another node.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local prematch = read_prematch(ARGV[4])
if not prematch or prematch.started_by ~= ARGV[5] then
  return 0
end
end_prematch(ARGV[4], prematch, function()
  return true
end)
return 1
