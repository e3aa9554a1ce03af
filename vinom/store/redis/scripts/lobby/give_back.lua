-- End a prematch, and put its entries back: its id, the ids of entries that leave
-- Returns the prematch as it was; nothing if it is gone.
local prematch, listed = read('prematch', ARGV[4])
if prematch then end_prematch(prematch, set_of(ARGV[5])) end
return listed
