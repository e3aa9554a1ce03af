-- Find a party: id
-- Returns its fields; nothing if it is gone.
local _, found = read('party', ARGV[4])
return found
