-- List those who have a line to another node, whose lease lasts: the players
local found = {}
for i = 4, #ARGV do
  found[#found + 1] = absence(ARGV[i]) == 0 and ARGV[i] or nil
end
return found
