-- Shared by the steps on parties, entries, prematches and matches. Lists of ids are texts with
-- one per line.
--
-- An entry's hash says where it is: with 'prematch' or 'match' it is in that, else in its
-- queue. Its players find it by 'entry-of' unless it is in a match.
--
-- A queue's sorted sets hold places: number of arrival, number of players, and id, as
-- "0000000000000007:2:abc". Equal waits are ordered by the number of arrival.

-- Make a table of names and values that follow each other in a list, from one on.
local function named(list, from)
  local fields = {}
  for i = from, #list, 2 do
    fields[list[i]] = list[i + 1]
  end
  return fields
end

-- Read a party, an entry, a prematch or a match by its id.
-- Returns its fields by name, nil if it is gone; and as Redis lists them.
local function read(kind, id)
  local listed = id and call('HGETALL', P .. kind .. ':' .. id) or {}
  local fields = named(listed, 1)
  fields.id = id
  return listed[1] and fields or nil, listed
end

-- Go through a list of ids.
local function each(ids)
  return ids:gmatch('[^\n]+')
end

-- Make a set of a list of ids.
local function set_of(ids)
  local found = {}
  for id in each(ids) do
    found[id] = true
  end
  return found
end

-- Have the keys of one kind lead from players to something, or to nothing.
local function lead(kind, players, value, milliseconds)
  for player in each(players) do
    local key = P .. kind .. '-of:' .. player
    if value then call('SET', key, value, 'PX', milliseconds) else call('DEL', key) end
  end
end

-- Note that players have done more than say hello: guests who have not are forgotten first.
local function settle(players)
  for player in each(players) do
    call('ZREM', P .. 'guests', player)
  end
end

-- Make the node that calls the owner of an entry, a prematch or a match.
local function take_over(kind, kinds, id, before)
  call('HSET', P .. kind .. ':' .. id, 'node', ARGV[2])
  own(kinds, id, before)
end

-- Parties.

-- Take a party out of all lists; returns since when others may join it, if they may.
local function unlist(party)
  local since = call('ZSCORE', P .. 'parties-listed', party.id)
  for _, name in ipairs({ '-in:' .. party.state, '-listed', '-listed:' .. party.game }) do
    call('ZREM', P .. 'parties' .. name, party.id)
  end
  return since
end

-- List a party among those of its state, by the end of its lifetime, to count them, and
-- among those that others may join.
local function list(party, since)
  local left = call('PTTL', P .. 'party:' .. party.id)
  write(LIFETIME, 'ZADD', 'parties-in:' .. party.state, now + left * 1000, party.id)
  if party.state == 'idle' and party.open == '1' then
    write(LIFETIME, 'ZADD', 'parties-listed', since or now, party.id)
    write(LIFETIME, 'ZADD', 'parties-listed:' .. party.game, since or now, party.id)
  end
end

-- Store a party, in place of the version that was read ('' if it is new): its fields are in
-- ARGV, from one on. The entry of the one before is left to the caller.
-- Returns whether its version is the one that was read, and no new member has another party
-- or waits alone; and the party before.
local function put_party(id, version, from)
  local before, party = read('party', id), named(ARGV, from)
  if (before and before.version or '') ~= version then
    return false
  end
  for player in each(party.players) do
    local other = call('GET', P .. 'party-of:' .. player)
    if other and other ~= id or not other and call('EXISTS', P .. 'entry-of:' .. player) == 1 then
      return false
    end
  end
  if before then
    lead('party', before.players)
  end
  write(LIFETIME, 'HSET', 'party:' .. id, unpack(ARGV, from))
  lead('party', party.players, id, LIFETIME)
  settle(party.players)
  party.id = id
  list(party, before and unlist(before))
  return true, before
end

-- Give the party of an entry the state that the entry brings it to.
local function follow(entry, state)
  local party = (entry.party or '') ~= '' and read('party', entry.party)
  if not party or party.entry ~= entry.id or party.state == state then
    return
  end
  local key, since = P .. 'party:' .. party.id, unlist(party)
  call('HINCRBY', key, 'version', 1)
  call('HSET', key, 'state', state)
  if state == 'idle' then
    call('HSET', key, 'entry', '', 'unready', 1)
  end
  party.state = state
  list(party, since)
end

-- Queues.

local function size_of(place)
  return tonumber(place:match('^%d+:(%d+):'))
end

-- Count an entry as suspended (1), or not any more (-1).
local function count_suspended(queue, place, by)
  call('HINCRBY', P .. 'queue:' .. queue, 'suspended', by * size_of(place))
  call('HINCRBY', P .. 'queued', ':suspended', by)
end

-- Give what counts a queue's entries a new lifetime: that of the last of them.
local function keep_queue(queue)
  local its = 'queue:' .. queue
  for _, key in ipairs({ its, its .. ':places', its .. ':ready', 'waiting', 'queued', 'arrivals' }) do
    call('PEXPIRE', P .. key, LIFETIME)
  end
end

-- Put an entry in its queue, and in all counts.
local function put_in(entry)
  local queue, place, since = entry.queue, entry.place, entry.since
  local its, players = P .. 'queue:' .. queue, size_of(place)
  call('ZADD', its .. ':places', since, place)
  call('ZADD', P .. 'waiting', since, queue .. '\n' .. place)
  call('HINCRBY', its, 'players', players)
  call('HINCRBY', P .. 'queued', queue:match('^(.*):'), players)
  if entry.suspended == '1' then
    count_suspended(queue, place, 1)
  else
    call('ZADD', its .. ':ready', since, place)
  end
  keep_queue(queue)
end

-- Take a place out of its queue, and out of all counts.
local function take_out(queue, place)
  local its, game, players = P .. 'queue:' .. queue, queue:match('^(.*):'), -size_of(place)
  call('ZREM', its .. ':places', place)
  call('ZREM', P .. 'waiting', queue .. '\n' .. place)
  if call('ZREM', its .. ':ready', place) == 0 then
    count_suspended(queue, place, -1)
  end
  if call('HINCRBY', its, 'players', players) <= 0 then
    call('DEL', its)
  end
  if call('HINCRBY', P .. 'queued', game, players) <= 0 then
    call('HDEL', P .. 'queued', game)
  end
end

-- Find since when the first of a sorted set waits, of places in a queue, or of queues and
-- places; '' if there is none. Those before it are taken out whose entry's lifetime is over,
-- but not so many that it takes long.
local function oldest(key, queue)
  for _ = 1, 200 do
    local first, since = unpack(call('ZRANGE', key, 0, 0, 'WITHSCORES'))
    if not first then
      break
    end
    local its, place = queue or first:match('^(.*)\n'), first:match('[^\n]*$')
    if call('EXISTS', P .. 'entry:' .. place:match('^%d+:%d+:(.*)$')) == 1 then
      return since
    end
    take_out(its, place)
  end
  return ''
end

-- Count a queue: how many players wait, how many of them can be matched.
local function count(queue)
  local all, suspended = unpack(call('HMGET', P .. 'queue:' .. queue, 'players', 'suspended'))
  return all or '0', tostring((all or 0) - (suspended or 0))
end

-- Entries.

-- Can this entry be matched?
local function is_ready(entry)
  return entry and entry.suspended == '0' and not entry.prematch and not entry.match
end

-- Read entries that are taken out together: those of a prematch, or else ('') ready ones.
-- Returns nil if one of them cannot be.
local function read_all(ids, prematch)
  local entries, seen = {}, {}
  for id in each(ids) do
    local entry = read('entry', id)
    if seen[id] or not entry or (entry.prematch or '') ~= prematch
      or prematch == '' and not is_ready(entry) then
      return nil
    end
    entries[#entries + 1], seen[id] = entry, true
  end
  return entries
end

-- Make an entry unmatchable ('1'), or matchable again ('0'); it keeps its place. In a prematch
-- that is only noted.
local function suspend(entry, suspended)
  if entry.suspended == suspended then
    return
  end
  call('HSET', P .. 'entry:' .. entry.id, 'suspended', suspended)
  if not entry.prematch then
    local ready = P .. 'queue:' .. entry.queue .. ':ready'
    if suspended == '1' then
      call('ZREM', ready, entry.place)
    else
      call('ZADD', ready, entry.since, entry.place)
    end
    count_suspended(entry.queue, entry.place, suspended == '1' and 1 or -1)
  end
end

-- Give an entry, and the way to it from each of its players, a new lifetime.
local function keep(entry, milliseconds)
  call('PEXPIRE', P .. 'entry:' .. entry.id, milliseconds)
  lead('entry', entry.players, entry.id, milliseconds)
end

-- Let an entry of the node that calls wait.
local function wait(entry)
  take_over('entry', 'entries', entry.id)
  keep(entry, LIFETIME)
  put_in(entry)
end

-- Has each player of an entry a line to a node whose lease lasts? And who has none at all?
local function are_here(entry)
  local alone, all_here = {}, true
  for player in each(entry.players) do
    local node = call('HGET', P .. 'line:' .. player, 'node')
    alone[#alone + 1] = not node and player or nil
    all_here = all_here and node and is_alive(node)
  end
  return all_here, alone
end

-- Take an entry out of its queue, or out of a prematch, for a match, or for good.
local function take(entry, match)
  local key = P .. 'entry:' .. entry.id
  if not entry.prematch then
    take_out(entry.queue, entry.place)
  end
  call('SREM', P .. 'entries-of:' .. entry.node, entry.id)
  lead('entry', entry.players)
  if match then
    call('HDEL', key, 'prematch')
    write(LIFETIME, 'HSET', 'entry:' .. entry.id, 'match', match)
  else
    call('DEL', key)
  end
  follow(entry, match and 'in_game' or 'idle')
end

-- Prematches and matches.

-- List who has said nothing in a prematch.
local function silent_in(prematch)
  local found = {}
  for field, said in pairs(prematch) do
    local player = said == '' and field:match('^player:(.*)$')
    if player then
      found[player] = true
    end
  end
  return found
end

local function drop_prematch(prematch)
  call('DEL', P .. 'prematch:' .. prematch.id)
  call('SREM', P .. 'prematches-of:' .. prematch.node, prematch.id)
end

-- End a prematch: entries leave whose id, or that of one of their players, is in a set; the
-- others go back to their old places.
local function end_prematch(prematch, gone)
  drop_prematch(prematch)
  for entry_id in each(prematch.entries) do
    -- As it is now: a player may have come or gone meanwhile, or its lifetime be over.
    local entry = read('entry', entry_id)
    if entry and entry.prematch == prematch.id then
      local leaves = gone[entry_id]
      for player in each(entry.players) do
        leaves = leaves or gone[player]
      end
      if leaves then
        take(entry)
      else
        call('HDEL', P .. 'entry:' .. entry_id, 'prematch')
        put_in(entry)
        follow(entry, 'in_queue')
      end
    end
  end
end

-- Let an entry leave its queue, or its prematch, which ends.
-- Returns data, place and suspension of the entry, and the fields of the prematch; nothing if
-- there is no such entry.
local function leave(entry)
  if not entry or entry.match then
    return {}
  end
  local prematch, listed = read('prematch', entry.prematch)
  if prematch then
    end_prematch(prematch, { [entry.id] = true })
  else
    take(entry)
  end
  return { entry.data, entry.place, entry.suspended, listed }
end

-- Record a match of the node that calls.
local function record(id, plan, players, entries)
  write(LIFETIME, 'HSET', 'match:' .. id, 'plan', plan, 'players', players, 'entries', entries)
  take_over('match', 'matches', id)
end
