-- Find for how long a player has had no line to another node whose lease lasts: the player
-- Returns microseconds; 0 if there is such a line, -1 if nobody knows, and 1 if the lease of the
-- other node is over: as a stop of Redis ends all leases, players are away only after abandon.
local node = line_of(ARGV[4])
if not node or node == ARGV[2] then
  local left = tonumber(call('GET', P .. 'left:' .. ARGV[4]))
  return left and math.max(1, now - left) or -1
end
return is_alive(node) and 0 or 1
