-- Find the node of a running match: id
-- Returns nil if it is over.
return call('HGET', P .. 'match:' .. ARGV[4], 'node')
