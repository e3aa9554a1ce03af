-- ARGV: id, the entries' ids, its other fields
local id = ARGV[4]
if call('EXISTS', P .. 'prematch:' .. id) == 1 then
  return 1
end
local entries = read_all(ARGV[5], '')
for _, entry in ipairs(entries or {}) do
  move(-1, entry)
  call('HSET', P .. 'entry:' .. entry.id, 'prematch', id)
  follow(entry, 'prematch')
end
if entries then
  write(LIFETIME, 'HSET', 'prematch:' .. id, 'entries', ARGV[5], unpack(ARGV, 6))
  take_over('prematch', 'prematches', id)
end
return entries and 1 or 0
