-- Find for how long a player has had no line to another node whose lease lasts: the player
-- Returns microseconds; 0 if there is such a line, -1 if nobody knows any more.
local node = line_of(ARGV[4])
if not node or node == ARGV[2] then
  local left = tonumber(redis.call('GET', P .. 'left:' .. ARGV[4]))
  return left and math.max(1, now - left) or -1
end
local ends = tonumber(redis.call('HGET', P .. 'node:' .. node, 'ends'))
return ends and math.max(0, now - ends) or -1
