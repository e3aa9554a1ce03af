-- Send a message to the other nodes that these players have lines to: message, players
-- It is lost if they do not listen. Returns how many nodes that were.
if not may_write() then return 'STALE' end
local players, nodes = {}, 0
for i = 5, #ARGV do
  local node = line_of(ARGV[i])
  if node and node ~= ARGV[2] then
    players[node] = (players[node] or '') .. ARGV[i] .. '\n'
  end
end
for node, its in pairs(players) do
  call('PUBLISH', P .. 'to:' .. node, 'send\n' .. its .. '\n' .. ARGV[4])
  nodes = nodes + 1
end
return nodes
