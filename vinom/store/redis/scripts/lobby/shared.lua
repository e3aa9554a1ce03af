-- Lists of ids are texts with one per line.
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

local function each(ids)
  return ids:gmatch('[^\n]+')
end

local function set_of(ids)
  local found = {}
  for id in each(ids) do
    found[id] = true
  end
  return found
end

-- Have the keys of one kind lead from players to something, or to nothing. Who has something is
-- no guest who has only said hello: those are forgotten first.
local function lead(kind, players, value, milliseconds)
  for player in each(players) do
    local key = P .. kind .. '-of:' .. player
    if value then
      call('SET', key, value, 'PX', milliseconds)
      call('ZREM', P .. 'guests', player)
    else
      call('DEL', key)
    end
  end
end

-- Make the node that calls the owner of an entry, a prematch or a match.
local function take_over(kind, kinds, id, before)
  call('HSET', P .. kind .. ':' .. id, 'node', ARGV[2])
  own(kinds, id, before)
end

-- Take a party out of all lists; returns since when others may join it, if they may.
local function unlist(party)
  local since = call('ZSCORE', P .. 'parties-listed', party.id)
  for _, name in ipairs({ '-in:' .. party.state, '-listed', '-listed:' .. party.game }) do
    call('ZREM', P .. 'parties' .. name, party.id)
  end
  return since
end

-- Write fields of a party that was like this before (nil: it is new), and list it: by the end of
-- its lifetime, to count those in its state, and if others may join it.
local function save_party(id, before, ...)
  local since = before and unlist(before) or now
  write(LIFETIME, 'HSET', 'party:' .. id, ...)
  local party = read('party', id)
  lead('party', party.players, id, LIFETIME)
  write(LIFETIME, 'ZADD', 'parties-in:' .. party.state, now + LIFETIME * 1000, id)
  if party.state == 'idle' and party.open == '1' then
    write(LIFETIME, 'ZADD', 'parties-listed', since, id)
    write(LIFETIME, 'ZADD', 'parties-listed:' .. party.game, since, id)
  end
end

-- Store a party whose fields are in ARGV, from one on; none forget it. Its entry is the caller's.
-- Returns whether that was possible, and the party before.
local function put_party(id, version, from)
  local before, players = read('party', id), named(ARGV, from).players
  if (before and before.version or '') ~= version then
    return false
  end
  for player in each(players or '') do
    local other = call('GET', P .. 'party-of:' .. player)
    if other and other ~= id or not other and call('EXISTS', P .. 'entry-of:' .. player) == 1 then
      return false
    end
  end
  lead('party', before and before.players or '')
  if players then
    save_party(id, before, unpack(ARGV, from))
  else
    call('DEL', P .. 'party:' .. id)
    unlist(before)
  end
  return true, before
end

-- Give the party of an entry the state that the entry brings it to.
local function follow(entry, state)
  local party = read('party', entry.party)
  if party and party.entry == entry.id and party.state ~= state then
    local is_idle = state == 'idle'
    save_party(party.id, party, 'version', party.version + 1, 'state', state,
      'entry', is_idle and '' or entry.id, 'unready', is_idle and '1' or party.unready)
  end
end

-- Change a count; it is gone when nothing is left.
local function add(key, field, by)
  if write(LIFETIME, 'HINCRBY', key, field, by) <= 0 then
    call('HDEL', P .. key, field)
  end
end

-- Put an entry in its queue and in all counts (by is 1), or take it out of them (-1), though
-- nothing be known of it but its queue and place.
local function move(by, entry)
  local queue, place = entry.queue, entry.place
  local its, size = 'queue:' .. queue, by * place:match('^%d+:(%d+):')
  local is_ready = entry.suspended == '0' or call('ZSCORE', P .. its .. ':ready', place)
  local sets = { waiting = queue .. '\n' .. place, [its .. ':places'] = place }
  sets[its .. ':ready'] = is_ready and place or nil
  for key, member in pairs(sets) do
    if by > 0 then
      write(LIFETIME, 'ZADD', key, entry.since, member)
    else
      call('ZREM', P .. key, member)
    end
  end
  add(its, 'players', size)
  add('queued', queue:match('^(.*):'), size)
  if not is_ready then
    add(its, 'suspended', size)
    add('queued', ':suspended', by)
  end
end

-- Find since when the first of a sorted set waits, of places in a queue, or of queues and
-- places. Those before it whose entry's lifetime is over are taken out, but not too many.
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
    move(-1, { queue = its, place = place })
  end
  return ''
end

-- Count a queue: how many players wait, how many of them can be matched, and since when.
local function count(queue)
  local its = P .. 'queue:' .. queue
  oldest(its .. ':places', queue)
  local since = oldest(its .. ':ready', queue)
  local all, suspended = unpack(call('HMGET', its, 'players', 'suspended'))
  return { all or '0', tostring((all or 0) - (suspended or 0)), since }
end

local function is_ready(entry)
  return entry and entry.suspended == '0' and not entry.prematch and not entry.match
end

-- Find the place of an entry in its queue, suspended ones counted; 0 if it is in none.
local function rank(entry)
  local before = call('ZRANK', P .. 'queue:' .. entry.queue .. ':places', entry.place)
  return before and before + 1 or 0
end

-- Read entries that are taken out together, of a prematch, or else ('') ready; nil if one is not.
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
  call('HSET', P .. 'entry:' .. entry.id, 'suspended', suspended)
  if not entry.prematch then
    move(-1, entry)
    entry.suspended = suspended
    move(1, entry)
  end
end

-- Give an entry, and the way to it from each of its players, a new lifetime.
local function keep(entry, milliseconds)
  call('PEXPIRE', P .. 'entry:' .. entry.id, milliseconds)
  lead('entry', entry.players, entry.id, milliseconds)
end

-- Put an entry in its queue at its place: it is new, or comes back.
local function wait(entry)
  call('HDEL', P .. 'entry:' .. entry.id, 'prematch', 'match')
  move(1, entry)
  follow(entry, 'in_queue')
end

-- Has each player of an entry a line to a node whose lease lasts?
local function are_here(entry)
  local all_here = true
  for player in each(entry.players) do
    local node = call('HGET', P .. 'line:' .. player, 'node')
    all_here = all_here and node and is_alive(node)
  end
  return all_here
end

-- Take an entry out of its queue, or out of a prematch, for a match, or for good.
local function take(entry, match)
  if not entry.prematch then
    move(-1, entry)
  end
  call('SREM', P .. 'entries-of:' .. entry.node, entry.id)
  lead('entry', entry.players)
  if match then
    call('HDEL', P .. 'entry:' .. entry.id, 'prematch')
    write(LIFETIME, 'HSET', 'entry:' .. entry.id, 'match', match)
  else
    call('DEL', P .. 'entry:' .. entry.id)
  end
  follow(entry, match and 'in_game' or 'idle')
end

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

-- End a prematch: entries leave (for a match, or for good) whose id, or that of one of their
-- players, is in a set; the others go back to their old places.
local function end_prematch(prematch, gone, match)
  call('DEL', P .. 'prematch:' .. prematch.id)
  call('SREM', P .. 'prematches-of:' .. prematch.node, prematch.id)
  for entry_id in each(prematch.entries) do
    -- As it is now: a player may have come or gone meanwhile, or its lifetime be over.
    local entry = read('entry', entry_id)
    if entry and entry.prematch == prematch.id then
      local leaves = gone[entry_id]
      for player in each(entry.players) do
        leaves = leaves or gone[player]
      end
      if leaves then take(entry, match) else wait(entry) end
    end
  end
end

-- Let an entry leave its queue, or its prematch, which ends, for a match, or for good.
-- Returns data, place and suspension of the entry, and the fields of the prematch; nothing if
-- there is no such entry.
local function leave(entry, match)
  if not entry or entry.match then
    return {}
  end
  local prematch, listed = read('prematch', entry.prematch)
  if prematch then
    end_prematch(prematch, { [entry.id] = true }, match)
  else
    take(entry, match)
  end
  return { entry.data, entry.place, entry.suspended, listed }
end

local function record(id, plan, players, entries)
  write(LIFETIME, 'HSET', 'match:' .. id, 'plan', plan, 'players', players, 'entries', entries)
  take_over('match', 'matches', id)
end

-- List those of some players who are in a match, one per line: others have left it.
local function those_in(match, players)
  local found = {}
  for player in each(players) do
    found[#found + 1] = call('GET', P .. 'match-of:' .. player) == match and player or nil
  end
  return table.concat(found, '\n')
end
