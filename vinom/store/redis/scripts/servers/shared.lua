-- Shared by the steps on game servers.

-- How long a game server that changed its node is remembered after its end, in ms: a node
-- that was suspended meanwhile must not bring it back.
local REMEMBERED = 3600 * 1000

-- The ids of the game servers of a node; of those that are offered if the id is empty.
local function servers_of(node)
  return node == '' and P .. 'offered' or P .. 'servers-of:' .. node
end

-- Record the owner of a game server.
local function list(node, id)
  call('SADD', servers_of(node), id)
  call('PEXPIRE', servers_of(node), LIFETIME)
end
