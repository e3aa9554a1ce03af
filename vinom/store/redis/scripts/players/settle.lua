return call('ZREM', P .. 'guests', ARGV[4])
