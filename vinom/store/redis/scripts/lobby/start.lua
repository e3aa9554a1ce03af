-- Record a match, and take its players' entries out of the queue or of a prematch: id, plan,
-- the prematch's id ('' without one), how many players, their ids, then the entries' ids
-- Returns why not: 'gone', or 'playing' and who is; '' if it is recorded, and, if it has no
-- entries, what leave returns about each entry that one of its players had.
local id, plan, prematch_id, count = unpack(ARGV, 4, 7)
local key, ids = P .. 'match:' .. id, table.concat(ARGV, '\n', 8 + count)
if call('EXISTS', key) == 1 then
  return { '' }
end
local found = { 'playing' }
for i = 8, 7 + count do
  if call('EXISTS', P .. 'match-of:' .. ARGV[i]) == 1 then
    found[#found + 1] = ARGV[i]
  end
end
if found[2] then
  return found
end
local prematch = prematch_id ~= '' and read_prematch(prematch_id)
if prematch_id ~= '' and not (prematch and prematch.entries == ids and not next(who_said(prematch, ''))) then
  return { 'gone' }
end
local entries, taken = {}, {}
for i = 8 + count, #ARGV do
  local entry = read_entry(ARGV[i])
  if not entry or entry.match or taken[ARGV[i]] or (entry.prematch or '') ~= prematch_id
    or prematch_id == '' and entry.suspended ~= '0' then
    return { 'gone' }
  end
  entries[#entries + 1], taken[ARGV[i]] = entry, true
end
found = { '' }
for i = 8, entries[1] and 7 or 7 + count do
  found[#found + 1] = leave(read_entry(call('GET', P .. 'entry-of:' .. ARGV[i])))
end
if prematch then
  drop_prematch(prematch_id, prematch)
end
for _, entry in ipairs(entries) do
  take(entry, 'in_game')
  call('HDEL', P .. 'entry:' .. entry.id, 'prematch')
  call('HSET', P .. 'entry:' .. entry.id, 'match', id)
  call('PEXPIRE', P .. 'entry:' .. entry.id, LIFETIME)
end
call('HSET', key, 'plan', plan, 'entries', ids)
for i = 8, 7 + count do
  call('HSET', key, 'player:' .. ARGV[i], 1)
  call('SET', P .. 'match-of:' .. ARGV[i], id, 'PX', LIFETIME)
end
call('PEXPIRE', key, LIFETIME)
own('match', 'matches', id)
return found
