-- Shared by the steps on parties, entries, prematches and matches.
--
-- An entry's hash says where it is: with 'prematch' or 'match' it is in that, else in its
-- queue. Its players find it by 'entry-of' unless it is in a match.
--
-- A queue's sorted sets hold places: number of arrival, number of players, and id, as
-- "0000000000000007:2:abc". Equal waits are ordered by the number of arrival.
--
-- 'parties-in' has the parties of each state by the ends of their lifetimes, to count them.

-- Read an entry by its id; nil if it is gone.
local function read_entry(id)
  if not id then
    return nil
  end
  local names = { 'queue', 'place', 'since', 'suspended', 'players', 'node', 'party', 'prematch', 'match' }
  local found, entry = call('HMGET', P .. 'entry:' .. id, unpack(names)), { id = id }
  for i, name in ipairs(names) do
    entry[name] = found[i] or nil
  end
  return found[1] and entry or nil
end

-- Go through the players of an entry or a party, as their hashes have them.
local function each(players)
  return players:gmatch('[^\n]+')
end

-- Give the keys of one kind that lead from players to something a lifetime.
local function lead(kind, players, id, milliseconds)
  for player in each(players) do
    call('SET', P .. kind .. '-of:' .. player, id, 'PX', milliseconds)
  end
end

-- Make the node that calls the owner of an entry, a prematch or a match.
local function own(kind, kinds, id, node)
  if node then
    call('SREM', P .. kinds .. '-of:' .. node, id)
  end
  call('HSET', P .. kind .. ':' .. id, 'node', ARGV[2])
  call('SADD', P .. kinds .. '-of:' .. ARGV[2], id)
  call('PEXPIRE', P .. kinds .. '-of:' .. ARGV[2], LIFETIME)
end

-- Parties.

-- Add a party to a sorted set.
local function rank(name, score, id)
  call('ZADD', P .. name, score, id)
  call('PEXPIRE', P .. name, LIFETIME)
end

-- List a party where its state belongs; before is the state in which it was.
local function list(id, before)
  local state, open, game, left = unpack(call('HMGET', P .. 'party:' .. id, 'state', 'open', 'game'))
  left = call('PTTL', P .. 'party:' .. id)
  if before then
    call('ZREM', P .. 'parties-in:' .. before, id)
  end
  rank('parties-in:' .. state, now + left * 1000, id)
  if state == 'idle' and open == '1' then
    -- One that is listed already keeps its place.
    local at = call('ZSCORE', P .. 'parties-listed', id) or now
    rank('parties-listed', at, id)
    if game ~= '' then
      rank('parties-listed:' .. game, at, id)
    end
  else
    call('ZREM', P .. 'parties-listed', id)
    call('ZREM', P .. 'parties-listed:' .. game, id)
  end
end

-- Forget a party and what leads to it, but not its entry.
local function forget_party(id, state, game, players)
  call('DEL', P .. 'party:' .. id)
  call('ZREM', P .. 'parties-in:' .. state, id)
  call('ZREM', P .. 'parties-listed', id)
  call('ZREM', P .. 'parties-listed:' .. game, id)
  for player in each(players) do
    call('DEL', P .. 'party-of:' .. player)
  end
end

-- Store a party, in place of the version that was read: that version ('' if it is new), then
-- at ARGV[at] and later: the new version, data, state, entry, game, is it open and not full,
-- how many members, and their ids. The entry of the one before is left to the caller.
-- Returns whether its version is the one that was read, and no new member has another party
-- or waits alone; and the state and the entry before.
local function put_party(id, read, at)
  local key = P .. 'party:' .. id
  local before = call('HMGET', key, 'version', 'state', 'game', 'players', 'entry')
  if (before[1] or '') ~= read then
    return false
  end
  local version, data, state, entry, game, open, count = unpack(ARGV, at, at + 6)
  local players = table.concat(ARGV, '\n', at + 7, at + 6 + count)
  for player in each(players) do
    local other = call('GET', P .. 'party-of:' .. player)
    if other and other ~= id or not other and call('EXISTS', P .. 'entry-of:' .. player) == 1 then
      return false
    end
  end
  if before[1] then
    for player in each(before[4]) do
      call('DEL', P .. 'party-of:' .. player)
    end
    if before[3] ~= game then
      call('ZREM', P .. 'parties-listed:' .. before[3], id)
    end
  end
  call('HSET', key, 'version', version, 'data', data, 'state', state, 'entry', entry,
    'game', game, 'open', open, 'players', players, 'unready', 0)
  call('PEXPIRE', key, LIFETIME)
  lead('party', players, id, LIFETIME)
  list(id, before[2])
  return true, before[2], before[5]
end

-- Give the party of an entry the state that the entry brings it to.
local function follow(entry, state)
  if (entry.party or '') == '' then return end
  local key = P .. 'party:' .. entry.party
  local before, its = unpack(call('HMGET', key, 'state', 'entry'))
  if its ~= entry.id or before == state then
    return
  end
  call('HINCRBY', key, 'version', 1)
  call('HSET', key, 'state', state)
  if state == 'idle' then
    call('HSET', key, 'entry', '', 'unready', 1)
  end
  list(entry.party, before)
end

-- Queues.

local function size_of(place)
  return tonumber(place:match('^%d+:(%d+):'))
end

-- Give what counts a queue's entries a new lifetime: that of the last of them.
local function keep_queue(queue)
  local its = P .. 'queue:' .. queue
  for _, key in ipairs({ its, its .. ':places', its .. ':ready' }) do
    call('PEXPIRE', key, LIFETIME)
  end
  for _, name in ipairs({ 'waiting', 'queued', 'arrivals' }) do
    call('PEXPIRE', P .. name, LIFETIME)
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
    call('HINCRBY', P .. 'queued', ':suspended', 1)
  else
    call('ZADD', its .. ':ready', since, place)
    call('HINCRBY', its, 'ready', players)
  end
  keep_queue(queue)
end

-- Take a place out of its queue, and out of all counts.
local function take_out(queue, place)
  local players = -size_of(place)
  call('ZREM', P .. 'queue:' .. queue .. ':places', place)
  local was_ready = call('ZREM', P .. 'queue:' .. queue .. ':ready', place)
  call('ZREM', P .. 'waiting', queue .. '\n' .. place)
  if call('HINCRBY', P .. 'queue:' .. queue, 'players', players) <= 0 then
    call('DEL', P .. 'queue:' .. queue)
  elseif was_ready == 1 then
    call('HINCRBY', P .. 'queue:' .. queue, 'ready', players)
  end
  local game = queue:match('^(.*):')
  if call('HINCRBY', P .. 'queued', game, players) <= 0 then
    call('HDEL', P .. 'queued', game)
  end
  if was_ready == 0 then
    call('HINCRBY', P .. 'queued', ':suspended', -1)
  end
end

-- Does the entry of a place still exist? One whose lifetime is over is taken out.
local function exists(queue, place)
  if call('EXISTS', P .. 'entry:' .. place:match('^%d+:%d+:(.*)$')) == 1 then
    return true
  end
  take_out(queue, place)
  return false
end

-- Places without an entry that one step takes out at most, so that it stays short.
local MOST_GONE = 200

-- Make an entry unmatchable; it keeps its place. In a prematch that is only noted.
local function suspend(entry)
  if entry.suspended == '1' then
    return
  end
  call('HSET', P .. 'entry:' .. entry.id, 'suspended', 1)
  if not entry.prematch then
    call('ZREM', P .. 'queue:' .. entry.queue .. ':ready', entry.place)
    call('HINCRBY', P .. 'queue:' .. entry.queue, 'ready', -size_of(entry.place))
    call('HINCRBY', P .. 'queued', ':suspended', 1)
  end
end

-- Give an entry, and the way to it from each of its players, a new lifetime.
local function keep(entry, milliseconds)
  call('PEXPIRE', P .. 'entry:' .. entry.id, milliseconds)
  lead('entry', entry.players, entry.id, milliseconds)
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

-- Take an entry out of its queue; in a prematch it is in none. Its players wait no more.
local function take(entry, state)
  if not entry.prematch then
    take_out(entry.queue, entry.place)
  end
  call('SREM', P .. 'entries-of:' .. entry.node, entry.id)
  for player in each(entry.players) do
    call('DEL', P .. 'entry-of:' .. player)
  end
  if state == 'idle' then
    call('DEL', P .. 'entry:' .. entry.id)
  end
  follow(entry, state)
end

-- Prematches.

-- Read a prematch.
-- Returns its fields by name, or nil if it is gone; and as Redis lists them.
local function read_prematch(id)
  local listed, fields = call('HGETALL', P .. 'prematch:' .. id), {}
  for i = 1, #listed, 2 do
    fields[listed[i]] = listed[i + 1]
  end
  return listed[1] and fields, listed
end

-- List who has given an answer ('' for none) in a prematch.
local function who_said(prematch, answer)
  local found = {}
  for field, said in pairs(prematch) do
    local player = field:match('^player:(.*)$')
    if player and said == answer then
      found[player] = true
    end
  end
  return found
end

local function drop_prematch(id, prematch)
  call('DEL', P .. 'prematch:' .. id)
  call('SREM', P .. 'prematches-of:' .. prematch.node, id)
end

-- End a prematch: entries leave that are listed by id in gone, or that have a player who is
-- listed there; the others go back to their old places.
local function end_prematch(id, prematch, gone)
  drop_prematch(id, prematch)
  for entry_id in each(prematch.entries) do
    -- As it is now: a player may have come or gone meanwhile, or its lifetime be over.
    local entry = read_entry(entry_id)
    if entry and entry.prematch == id then
      local leaves = gone[entry_id]
      for player in each(entry.players) do
        leaves = leaves or gone[player]
      end
      if leaves then
        take(entry, 'idle')
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
  local data, listed = call('HGET', P .. 'entry:' .. entry.id, 'data'), {}
  if entry.prematch then
    local prematch
    prematch, listed = read_prematch(entry.prematch)
    if prematch then
      end_prematch(entry.prematch, prematch, { [entry.id] = true })
    else
      take(entry, 'idle')
    end
  else
    take(entry, 'idle')
  end
  return { data, entry.place, entry.suspended, listed }
end
