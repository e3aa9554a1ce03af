-- Rooms and game servers are things that one node has, and another takes over. ARGV[4] is the
-- id (of a thing, or of a node in left), ARGV[5] 'room' or 'server'.
--
-- The hash of a thing has its node, which is empty if it is over, or, with data, if any node
-- may have it; and the fence, which rises with each owner.
local ID, KIND = ARGV[4], ARGV[5]
local THING, OF = KIND .. ':' .. ID, KIND .. 's-of:'
-- How long a room's id is kept for a node that has not put a checkpoint yet, in ms.
local RESERVED = 10 * 1000
-- How long a thing that changed its node is remembered after its end, in ms: a node that was
-- suspended meanwhile must not bring it back.
local REMEMBERED = 3600 * 1000

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
