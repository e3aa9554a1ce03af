-- Find for how long each of these players has had no line to another node: the players
local found = {}
for i = 4, #ARGV do
  found[i - 3] = absence(ARGV[i])
end
return found
