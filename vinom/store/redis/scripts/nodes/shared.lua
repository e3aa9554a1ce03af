-- Shared by the steps on nodes.

-- How long a node whose lease is over stays listed, in ms: longer than what it left lives.
local LISTED = LIFETIME + 3600 * 1000

-- Store a node and the end of its lease, in the clock of this Redis.
local function store(id, number, data, lease_ms)
  local key, ends = P .. 'node:' .. id, now + lease_ms * 1000
  call('HSET', key, 'data', data, 'lease', number, 'ends', string.format('%d', ends))
  call('PEXPIRE', key, lease_ms + LISTED)
  call('ZADD', P .. 'nodes', ends, id)
  call('PEXPIRE', P .. 'nodes', lease_ms + LISTED)
end
