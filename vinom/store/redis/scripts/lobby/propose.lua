-- Store a prematch, and take all of its entries out of the queue, or do nothing: id, data,
-- until, how many entries, their ids, then each player's id and answer
-- Returns 0 if one of the entries does not wait, or is suspended.
local id, data, ends, count = unpack(ARGV, 4, 7)
local key, last, taken = P .. 'prematch:' .. id, 7 + count, {}
if call('EXISTS', key) == 1 then
  return 1
end
for i = 8, last do
  local entry = read_entry(ARGV[i])
  if not entry or entry.suspended ~= '0' or entry.prematch or entry.match or taken[ARGV[i]] then
    return 0
  end
  taken[ARGV[i]] = entry
end
for entry_id, entry in pairs(taken) do
  take_out(entry.queue, entry.place)
  call('HSET', P .. 'entry:' .. entry_id, 'prematch', id)
  follow(entry, 'prematch')
end
call('HSET', key, 'data', data, 'until', ends, 'entries', table.concat(ARGV, '\n', 8, last))
for i = last + 1, #ARGV, 2 do
  call('HSET', key, 'player:' .. ARGV[i], ARGV[i + 1])
end
own('prematch', 'prematches', id)
call('PEXPIRE', key, LIFETIME)
return 1
