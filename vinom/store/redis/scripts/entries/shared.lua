-- Shared by the steps on queue entries.
--
-- A queue's sorted sets hold places: number of arrival, number of players, and id, as
-- "0000000000000007:2:abc". Equal waits are ordered by the number of arrival.

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

-- Take an entry out of the queue; its queue, place, players and node are those of its hash.
local function remove(id, queue, place, players, node)
  take_out(queue, place)
  redis.call('SREM', P .. 'entries-of:' .. node, id)
  local gone = { P .. 'entry:' .. id }
  for player in players:gmatch('[^\n]+') do
    gone[#gone + 1] = P .. 'entry-of:' .. player
  end
  redis.call('DEL', unpack(gone))
end

-- Make an entry unmatchable; it keeps its place.
local function suspend(id, queue, place)
  redis.call('HSET', P .. 'entry:' .. id, 'suspended', 1)
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
