return call('HGET', P .. 'match:' .. ARGV[4], 'node')
