-- Record the end of a match, for the players still in it: id, end, its lifetime in ms, then the
-- ids of its entries that wait again
-- Returns 0 if it was over already.
local id, key, again = ARGV[4], P .. 'match:' .. ARGV[4], {}
local fields, entries = call('HKEYS', key), call('HGET', key, 'entries') or ''
if not fields[1] then
  return 0
end
call('SREM', P .. 'matches-of:' .. call('HGET', key, 'node'), id)
for _, field in ipairs(fields) do
  local player = field:match('^player:(.*)$')
  if player then
    call('DEL', P .. 'match-of:' .. player)
    call('SET', P .. 'end-of:' .. player, ARGV[5], 'PX', ARGV[6])
  end
end
call('DEL', key)
for i = 7, #ARGV do
  again[ARGV[i]] = true
end
-- Has no player of an entry found something else, and is its party as it was?
local function may_wait(entry)
  if entry.party ~= '' then
    local its, players = unpack(call('HMGET', P .. 'party:' .. entry.party, 'entry', 'players'))
    if its ~= entry.id or players ~= entry.players then
      return false
    end
  end
  for player in each(entry.players) do
    local party = call('GET', P .. 'party-of:' .. player) or ''
    if party ~= entry.party
      or call('EXISTS', P .. 'entry-of:' .. player, P .. 'match-of:' .. player) > 0 then
      return false
    end
  end
  return true
end
for entry_id in each(entries) do
  local entry = read_entry(entry_id)
  if entry and entry.match == id then
    if again[entry_id] and may_wait(entry) then
      entry.suspended = are_here(entry) and '0' or '1'
      call('HDEL', P .. 'entry:' .. entry_id, 'match')
      call('HSET', P .. 'entry:' .. entry_id, 'suspended', entry.suspended)
      own('entry', 'entries', entry_id)
      keep(entry, LIFETIME)
      put_in(entry)
      follow(entry, 'in_queue')
    else
      call('DEL', P .. 'entry:' .. entry_id)
      follow(entry, 'idle')
    end
  end
end
return 1
