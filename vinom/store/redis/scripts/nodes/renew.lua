-- Renew a lease: the node's id, number of the lease, data, length of the lease in ms
-- Returns 0 if the lease is over, else 1; and for how many ms nodes still put back what was
-- lost.
if is_stale(ARGV[4], ARGV[5]) then
  return { 0, 0 }
end
store(ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7]))
return { 1, math.max(0, call('PTTL', P .. 'restoring')) }
