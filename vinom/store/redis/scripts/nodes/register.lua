-- Register a node: its id, 0, data, length of the lease in ms
-- Returns the number of the lease, larger than all before.
local number = redis.call('INCR', P .. 'leases')
redis.call('PEXPIRE', P .. 'leases', 400 * LIFETIME)
store(ARGV[4], number, ARGV[6], tonumber(ARGV[7]))
return number
