-- Register a node: its id, 0, data, length of the lease in ms, the name that this node
-- knew, or an empty text, and how long nodes put back what was lost, ms
-- Returns the number of the lease, larger than all before, the name of what is here (a Redis
-- that was emptied gets another one), and for how many ms nodes still put back what was lost.
local number = call('INCR', P .. 'leases')
call('PEXPIRE', P .. 'leases', 400 * LIFETIME)
store(ARGV[4], number, ARGV[6], tonumber(ARGV[7]))
call('SET', P .. 'epoch', string.format('%d-', now) .. ARGV[4], 'NX')
call('PEXPIRE', P .. 'epoch', 400 * LIFETIME)
local epoch = call('GET', P .. 'epoch')
if ARGV[8] ~= '' and ARGV[8] ~= epoch and tonumber(ARGV[9]) > 0 then
  -- So that nodes that start meanwhile know it, too.
  call('SET', P .. 'restoring', epoch, 'NX', 'PX', ARGV[9])
end
return { number, epoch, math.max(0, call('PTTL', P .. 'restoring')) }
