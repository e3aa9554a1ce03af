-- End a prematch, and put its entries back: its id, then the ids of entries that leave
-- Returns the prematch as it was; nothing if it is gone.
if is_stale(ARGV[2], ARGV[3]) then return 'STALE' end
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
