-- Record that a player's newest line is at this node: the player
-- The node of an older line is sent that it was replaced. Returns the epoch: larger than
-- that of the older line.
if not may_write() then return 'STALE' end
local node, epoch = line_of(ARGV[4])
call('DEL', P .. 'left:' .. ARGV[4])
set_line(ARGV[4], math.max(now, (epoch or 0) + 1))
if node and node ~= ARGV[2] then
  publish(node, string.format('replaced\n%s\n%d', ARGV[4], epoch))
end
return math.max(now, (epoch or 0) + 1)
