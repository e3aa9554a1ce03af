-- Find a party: id
-- Returns its data, state, entry, version and unready; nothing if it is gone.
local found = call('HMGET', P .. 'party:' .. ARGV[4], 'data', 'state', 'entry', 'version', 'unready')
return found[1] and found or {}
