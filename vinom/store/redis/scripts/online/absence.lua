local found = {}
for i = 4, #ARGV do
  found[i - 3] = absence(ARGV[i])
end
return found
