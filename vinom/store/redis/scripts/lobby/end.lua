-- Record the end of a match, for the players still in it: id, end, its lifetime in ms, and the
-- ids of its entries that wait again
-- Returns 0 if it was over already, or another node goes on with it.
local match, again = read('match', ARGV[4]), set_of(ARGV[7])
if not match or (match.node ~= ARGV[2] and is_alive(match.node)) then
  return 0
end
call('SREM', P .. 'matches-of:' .. match.node, match.id)
call('DEL', P .. 'match:' .. match.id)
lead('match', match.players)
lead('end', match.players, ARGV[5], ARGV[6])
-- Has no player of an entry found something else, and is its party as it was?
local function may_wait(entry)
  local party = read('party', entry.party)
  if entry.party ~= '' and not (party and party.entry == entry.id and party.players == entry.players) then
    return false
  end
  for player in each(entry.players) do
    local others = call('EXISTS', P .. 'entry-of:' .. player, P .. 'match-of:' .. player)
    if others > 0 or (call('GET', P .. 'party-of:' .. player) or '') ~= entry.party then
      return false
    end
  end
  return true
end
for entry_id in each(match.entries) do
  local entry, key = read('entry', entry_id), P .. 'entry:' .. entry_id
  if entry and entry.match == match.id then
    local waits = again[entry_id] and may_wait(entry)
    if waits then
      entry.suspended = are_here(entry) and '0' or '1'
      call('HDEL', key, 'match')
      call('HSET', key, 'suspended', entry.suspended)
      wait(entry)
    else
      call('DEL', key)
    end
    follow(entry, waits and 'in_queue' or 'idle')
  end
end
return 1
