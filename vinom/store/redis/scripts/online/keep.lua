if not may_write() then return 'STALE' end
local replaced = {}
for i = 4, #ARGV, 2 do
  local player, epoch = ARGV[i], tonumber(ARGV[i + 1])
  local node, newest = line_of(player)
  if node and node ~= ARGV[2] and newest > epoch then
    replaced[#replaced + 1] = player
  else
    set_line(player, math.max(epoch, newest or 0), node, newest)
  end
end
return replaced
