-- ARGV: messages, each with its players, one per line
-- Returns how many nodes got each; it is lost to those that do not listen.
if not may_write() then return 'STALE' end
local found = {}
for i = 4, #ARGV, 2 do
  local players, nodes = {}, 0
  for player in ARGV[i + 1]:gmatch('[^\n]+') do
    local node = line_of(player)
    if node and node ~= ARGV[2] then
      players[node] = (players[node] or '') .. player .. '\n'
    end
  end
  for node, its in pairs(players) do
    nodes = nodes + call('PUBLISH', P .. 'to:' .. node, 'send\n' .. its .. '\n' .. ARGV[i])
  end
  found[#found + 1] = nodes
end
return found
