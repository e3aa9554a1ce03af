-- Shared by the steps on rooms.

-- How long the id of a room is kept for a node that has not put a checkpoint yet, in ms.
local RESERVED = 10 * 1000
-- How long a room that was adopted and closed is remembered, in ms: a node that slept
-- meanwhile must not bring it back.
local REMEMBERED = 3600 * 1000

-- The ids of the rooms of a node; of those that were released if the id is empty.
local function rooms_of(node)
  return node == '' and P .. 'released' or P .. 'rooms-of:' .. node
end

-- Note that a room belongs to the caller.
local function own(id)
  call('SADD', P .. 'rooms-of:' .. ARGV[2], id)
  call('PEXPIRE', P .. 'rooms-of:' .. ARGV[2], LIFETIME)
end
