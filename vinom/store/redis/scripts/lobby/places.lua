local found = {}
for i = 4, #ARGV do
  local entry = read('entry', ARGV[i])
  found[i - 3] = entry and rank(entry) or 0
end
return found
