if not may_write() then return 'STALE' end
local node, epoch = line_of(ARGV[4])
local newest = math.max(now, (epoch or 0) + 1)
call('DEL', P .. 'left:' .. ARGV[4])
set_line(ARGV[4], newest, node, epoch)
return newest
