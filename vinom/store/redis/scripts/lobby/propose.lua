-- Store a prematch, and take all of its entries out of the queue, or do nothing: id, the
-- entries' ids, its other fields
-- Returns 0 if one of the entries does not wait, or is suspended.
local id, key = ARGV[4], P .. 'prematch:' .. ARGV[4]
if call('EXISTS', key) == 1 then
  return 1
end
local entries = read_all(ARGV[5], '')
for _, entry in ipairs(entries or {}) do
  take_out(entry.queue, entry.place)
  call('HSET', P .. 'entry:' .. entry.id, 'prematch', id)
  follow(entry, 'prematch')
end
if entries then
  call('HSET', key, 'entries', ARGV[5], unpack(ARGV, 6))
  call('PEXPIRE', key, LIFETIME)
  take_over('prematch', 'prematches', id)
end
return entries and 1 or 0
