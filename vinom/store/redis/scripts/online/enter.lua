-- Record that a player's newest line is at this node: the player
-- The node of an older line is sent that it was replaced; it may not listen. Returns the epoch:
-- larger than that of the older line.
if not may_write() then return 'STALE' end
local node, epoch = line_of(ARGV[4])
local newest = math.max(now, (epoch or 0) + 1)
call('DEL', P .. 'left:' .. ARGV[4])
set_line(ARGV[4], newest, node)
if node and node ~= ARGV[2] then
  call('PUBLISH', P .. 'to:' .. node, string.format('replaced\n%s\n%d', ARGV[4], epoch))
end
return newest
