-- Forget a line of this node: the player, the line's epoch
-- Returns 0 if the player has a newer one.
local node, epoch = line_of(ARGV[4])
if node and (node ~= ARGV[2] or epoch ~= tonumber(ARGV[5])) then
  return 0
end
redis.call('DEL', P .. 'line:' .. ARGV[4])
redis.call('SREM', P .. 'lines-of:' .. ARGV[2], ARGV[4])
return 1
