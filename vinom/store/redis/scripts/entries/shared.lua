-- Shared by the steps on queue entries and their prematches.
--
-- A queue's sorted sets hold places: number of arrival, number of players, and id, as
-- "0000000000000007:2:abc". Equal waits are ordered by the number of arrival.
--
-- An entry that is in a prematch has its name in the field 'prematch'. It is in none of
-- the queue's sets and counts, and knows its place, for the case that it goes back.

-- Give what counts a queue's entries a new lifetime: that of the last of them.
local function keep_queue(queue)
  local its = P .. 'queue:' .. queue
  for _, key in ipairs({ its, its .. ':places', its .. ':ready' }) do
    redis.call('PEXPIRE', key, LIFETIME)
  end
  for _, name in ipairs({ 'waiting', 'queued', 'arrivals' }) do
    redis.call('PEXPIRE', P .. name, LIFETIME)
  end
end

-- Put a place in its queue, and in all counts; the options are those of the queue.
local function put_in(queue, place, since, suspended, options)
  local its = P .. 'queue:' .. queue
  local players = tonumber(place:match('^%d+:(%d+):'))
  redis.call('ZADD', its .. ':places', since, place)
  redis.call('ZADD', P .. 'waiting', since, queue .. '\n' .. place)
  redis.call('HSET', its, 'options', options)
  redis.call('HINCRBY', its, 'players', players)
  redis.call('HINCRBY', P .. 'queued', queue:match('^(.*):'), players)
  if suspended == '1' then
    redis.call('HINCRBY', P .. 'queued', ':suspended', 1)
  else
    redis.call('ZADD', its .. ':ready', since, place)
    redis.call('HINCRBY', its, 'ready', players)
  end
  keep_queue(queue)
end

-- Take a place out of its queue, and out of all counts.
local function take_out(queue, place)
  local players = -tonumber(place:match('^%d+:(%d+):'))
  redis.call('ZREM', P .. 'queue:' .. queue .. ':places', place)
  local was_ready = redis.call('ZREM', P .. 'queue:' .. queue .. ':ready', place)
  redis.call('ZREM', P .. 'waiting', queue .. '\n' .. place)
  if redis.call('HINCRBY', P .. 'queue:' .. queue, 'players', players) <= 0 then
    redis.call('DEL', P .. 'queue:' .. queue)
  elseif was_ready == 1 then
    redis.call('HINCRBY', P .. 'queue:' .. queue, 'ready', players)
  end
  local game = queue:match('^(.*):')
  if redis.call('HINCRBY', P .. 'queued', game, players) <= 0 then
    redis.call('HDEL', P .. 'queued', game)
  end
  if was_ready == 0 then
    redis.call('HINCRBY', P .. 'queued', ':suspended', -1)
  end
end

-- Delete an entry that has no place; its players and node are those of its hash.
local function forget(id, players, node)
  redis.call('SREM', P .. 'entries-of:' .. node, id)
  local gone = { P .. 'entry:' .. id }
  for player in players:gmatch('[^\n]+') do
    gone[#gone + 1] = P .. 'entry-of:' .. player
  end
  redis.call('DEL', unpack(gone))
end

-- Take an entry out of the queue; its queue, place, players and node are those of its hash.
local function remove(id, queue, place, players, node)
  take_out(queue, place)
  forget(id, players, node)
end

-- Make an entry unmatchable; it keeps its place. In a prematch that is only noted.
local function suspend(id, queue, place, prematch)
  redis.call('HSET', P .. 'entry:' .. id, 'suspended', 1)
  if prematch then
    return
  end
  redis.call('ZREM', P .. 'queue:' .. queue .. ':ready', place)
  redis.call('HINCRBY', P .. 'queue:' .. queue, 'ready', -tonumber(place:match('^%d+:(%d+):')))
  redis.call('HINCRBY', P .. 'queued', ':suspended', 1)
end

-- Give an entry, and the way to it from each of its players, a new lifetime.
local function keep(id, players, milliseconds)
  redis.call('PEXPIRE', P .. 'entry:' .. id, milliseconds)
  for player in players:gmatch('[^\n]+') do
    redis.call('PEXPIRE', P .. 'entry-of:' .. player, milliseconds)
  end
end

-- Make the node that calls the owner of an entry.
local function own(id, node)
  if node then
    redis.call('SREM', P .. 'entries-of:' .. node, id)
  end
  redis.call('HSET', P .. 'entry:' .. id, 'node', ARGV[2], 'lease', ARGV[3])
  redis.call('SADD', P .. 'entries-of:' .. ARGV[2], id)
  redis.call('PEXPIRE', P .. 'entries-of:' .. ARGV[2], LIFETIME)
end

-- Does the entry of a place still exist? One whose lifetime is over is taken out.
local function exists(queue, place)
  if redis.call('EXISTS', P .. 'entry:' .. place:match('^%d+:%d+:(.*)$')) == 1 then
    return true
  end
  take_out(queue, place)
  return false
end

-- Places without an entry that one step takes out at most, so that it stays short.
local MOST_GONE = 200

-- Find the first of a queue's places in a sorted set, with its score.
local function first(queue, key)
  for _ = 1, MOST_GONE do
    local found = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if not found[1] then
      return nil
    end
    if exists(queue, found[1]) then
      return found
    end
  end
end

-- Read a prematch.
-- Returns its fields by name, or nil if it is gone; and as Redis lists them.
local function read_prematch(id)
  local listed, fields = redis.call('HGETALL', P .. 'prematch:' .. id), {}
  for i = 1, #listed, 2 do
    fields[listed[i]] = listed[i + 1]
  end
  return listed[1] and fields, listed
end

-- Make the node that calls the owner of a prematch.
local function own_prematch(id, node)
  if node then
    redis.call('SREM', P .. 'prematches-of:' .. node, id)
  end
  redis.call('HSET', P .. 'prematch:' .. id, 'node', ARGV[2], 'lease', ARGV[3])
  redis.call('SADD', P .. 'prematches-of:' .. ARGV[2], id)
  redis.call('PEXPIRE', P .. 'prematches-of:' .. ARGV[2], LIFETIME)
end

-- Delete a prematch: forget the entries that is_gone(id, players) is true for, and put
-- the others back at their old places.
local function end_prematch(id, prematch, is_gone)
  redis.call('DEL', P .. 'prematch:' .. id)
  redis.call('SREM', P .. 'prematches-of:' .. prematch.node, id)
  for entry in prematch.entries:gmatch('[^\n]+') do
    local key = P .. 'entry:' .. entry
    -- As it is now: a player may have come or gone meanwhile, or its lifetime be over.
    local queue, place, since, suspended, players, node, its = unpack(redis.call('HMGET',
      key, 'queue', 'place', 'since', 'suspended', 'players', 'node', 'prematch'))
    if its == id then
      if is_gone(entry, players) then
        forget(entry, players, node)
      else
        redis.call('HDEL', key, 'prematch')
        put_in(queue, place, since, suspended, prematch.options)
      end
    end
  end
end
