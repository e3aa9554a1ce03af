-- Take out an entry whose players go to a room: id
-- Returns 0 if it is gone, suspended or in a prematch.
local entry = read_entry(ARGV[4])
if not entry or entry.suspended ~= '0' or entry.prematch or entry.match then
  return 0
end
take(entry, 'idle')
return 1
