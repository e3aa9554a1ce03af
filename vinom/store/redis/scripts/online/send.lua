-- Send a message to the other nodes that these players have lines to: message, players
-- Returns how many nodes that were.
if not may_write() then return 'STALE' end
local players, nodes = {}, {}
for i = 5, #ARGV do
  local node = line_of(ARGV[i])
  if node and node ~= ARGV[2] then
    if not players[node] then
      players[node] = {}
      nodes[#nodes + 1] = node
    end
    table.insert(players[node], ARGV[i])
  end
end
for _, node in ipairs(nodes) do
  publish(node, 'send\n' .. table.concat(players[node], '\n') .. '\n\n' .. ARGV[4])
end
return #nodes
