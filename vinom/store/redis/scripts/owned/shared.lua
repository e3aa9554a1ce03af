-- Rooms and game servers are things that one node has, and another takes over. ARGV[4] is the
-- id (of a thing, or of a node in left), ARGV[5] 'room' or 'server'.
--
-- The hash of a thing has its node, which is empty if it is over, or, with data, if any node
-- may have it; and the fence, which rises with each owner.
--
-- Rooms that any node may have, or look after, are in 'rooms-free', by when it must (in us): those
-- that were released when their grace is over, and lasting ones, which have a field 'players',
-- when the lease of their node is over. 'games-of:' has the lasting rooms of a player, and
-- 'lasting-by' counts them by the address of who opened them.
local ID, KIND = ARGV[4], ARGV[5]
local THING, OF = KIND .. ':' .. ID, KIND .. 's-of:'
-- How long a room's id is kept for a node that has not put a checkpoint yet, in ms.
local RESERVED = 10 * 1000
-- How long a thing that changed its node is remembered after its end, in ms: a node that was
-- suspended meanwhile must not bring it back.
local REMEMBERED = 3600 * 1000
-- How long a lasting room lives, in ms, after it should have been looked after.
local LASTING = 30 * LIFETIME
local FREE = 'rooms-free'
-- The data of a room that sleeps has a key of its own: what is left of the hash is small then.
local ASLEEP = 'asleep:'
-- How long what is kept of all of them lives after the last change, in ms: longer than any.
local LONGEST = 400 * LIFETIME

local function data_of(id)
  return call('HGET', P .. KIND .. ':' .. id, 'data') or KIND == 'room' and call('GET', P .. ASLEEP .. id)
end

-- Have this room looked after at a time, in us.
local function look_at(at)
  write(LONGEST, 'ZADD', FREE, string.format('%d', at), ID)
end

-- Note who has seats in this room now: ids, separated by spaces.
local function seat(before, players)
  if before ~= players then
    for player in (before or ''):gmatch('%S+') do
      call('HDEL', P .. 'games-of:' .. player, ID)
    end
    for player in players:gmatch('%S+') do
      write(LONGEST, 'HSET', 'games-of:' .. player, ID, '')
    end
  end
end

-- Count the rooms that players of an address have opened.
local function count_opened(opener, by)
  if write(LONGEST, 'HINCRBY', 'lasting-by', opener, by) <= 0 then
    call('HDEL', P .. 'lasting-by', opener)
  end
end

-- Let the newest keys of players live for so many ms; a day less is as good, and costs less.
local function keep_keys(players, milliseconds)
  for player in players:gmatch('%S+') do
    local hash = call('GET', P .. 'key-of:' .. player)
    local left = hash and call('PTTL', P .. 'player:' .. hash) or -2
    if left > 0 and left < milliseconds - LIFETIME then
      local ends = now + 1000 * milliseconds
      write(milliseconds, 'HSET', 'player:' .. hash, 'until', string.format('%d', ends / 1000000))
      call('PEXPIRE', P .. 'key-of:' .. player, milliseconds)
      write(milliseconds, 'ZADD', 'players', string.format('%d', ends), hash)
    end
  end
end

-- Is this a game server that its node has offered? It still may change its record, or end.
local function is_offered(node)
  return KIND == 'server' and node == '' and call('HEXISTS', P .. THING, 'data') == 1
end

-- Make this node the owner: ms until the thing is forgotten, the node before, the fence, and
-- more fields of the hash.
local function take(milliseconds, before, fence, ...)
  write(milliseconds, 'HSET', THING, 'node', ARGV[2], 'fence', fence, ...)
  own(KIND .. 's', ID, before)
end
