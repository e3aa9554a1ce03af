-- Find a party: id
-- Returns its data; '' if it is gone.
return redis.call('HGET', P .. 'party:' .. ARGV[4], 'data') or ''
