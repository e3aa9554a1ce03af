-- End a prematch, and put its entries back: its id, then the ids of entries that leave
-- Returns the prematch as it was; nothing if it is gone.
local prematch, listed = read_prematch(ARGV[4])
if not prematch then
  return {}
end
local without = {}
for i = 5, #ARGV do
  without[ARGV[i]] = true
end
end_prematch(ARGV[4], prematch, without)
return listed
