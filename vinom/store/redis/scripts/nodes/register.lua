-- Register a node: its id, 0, data, length of the lease in ms
-- Returns the number of the lease, larger than all before, and the name of what is here: a
-- Redis that was emptied gets another one.
local number = redis.call('INCR', P .. 'leases')
redis.call('PEXPIRE', P .. 'leases', 400 * LIFETIME)
store(ARGV[4], number, ARGV[6], tonumber(ARGV[7]))
redis.call('SET', P .. 'epoch', string.format('%d-', now) .. ARGV[4], 'NX')
redis.call('PEXPIRE', P .. 'epoch', 400 * LIFETIME)
return { number, redis.call('GET', P .. 'epoch') }
