-- Start a lease, or renew it: the number 0 starts one
-- Returns the number of the lease, or 0 if it is over; the name of what is here (a Redis that
-- was emptied gets another one); and for how many ms nodes still put back what was lost.
local id, number, data, length, known, restoring = unpack(ARGV, 4, 9)
if number == '0' then
  number = write(400 * LIFETIME, 'INCR', 'leases')
elseif is_stale(id, number) then
  return { 0, '', 0 }
end
local ends = string.format('%d', now + length * 1000)
-- A node whose lease is over stays listed for longer than what it left lives.
local listed = length + LIFETIME + 3600 * 1000
write(listed, 'HSET', 'node:' .. id, 'data', data, 'lease', number, 'ends', ends)
write(listed, 'ZADD', 'nodes', ends, id)
write(400 * LIFETIME, 'SET', 'epoch', string.format('%d-', now) .. id, 'NX')
local epoch = call('GET', P .. 'epoch')
if known ~= '' and known ~= epoch and restoring ~= '0' then
  -- So that nodes that start meanwhile know it, too.
  call('SET', P .. 'restoring', epoch, 'NX', 'PX', restoring)
end
return { tonumber(number), epoch, math.max(0, call('PTTL', P .. 'restoring')) }
