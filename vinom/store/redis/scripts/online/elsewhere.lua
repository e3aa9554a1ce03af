-- List those who have a line to another node, whose lease lasts: the players
local found = {}
for i = 4, #ARGV do
  local node = line_of(ARGV[i])
  if node and node ~= ARGV[2] and is_alive(node) then
    found[#found + 1] = ARGV[i]
  end
end
return found
