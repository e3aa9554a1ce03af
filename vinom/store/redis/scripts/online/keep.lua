-- Record lines of this node again: player and epoch of each
-- Returns the players who have a newer line at another node.
if not may_write() then return 'STALE' end
local replaced = {}
for i = 4, #ARGV, 2 do
  local player, own = ARGV[i], tonumber(ARGV[i + 1])
  local node, epoch = line_of(player)
  if node and node ~= ARGV[2] and epoch > own then
    replaced[#replaced + 1] = player
  else
    set_line(player, math.max(own, epoch or 0))
  end
end
return replaced
