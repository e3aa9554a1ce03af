-- What a step on what nodes own begins with: a node whose lease is over changes nothing.
if is_stale(ARGV[2], ARGV[3]) then return 'STALE' end
