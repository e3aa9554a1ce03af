-- Note that a guest has done more than say hello: the player's id
return call('ZREM', P .. 'guests', ARGV[4])
