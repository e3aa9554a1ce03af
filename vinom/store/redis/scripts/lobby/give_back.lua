-- End a prematch, and put its entries back: its id
-- Returns the prematch as it was; nothing if it is gone.
local prematch, listed = read('prematch', ARGV[4])
if prematch then end_prematch(prematch, {}) end
return listed
