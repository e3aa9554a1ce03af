-- Remove a node: its id and the number of its lease
-- Returns 0 if that lease is not there.
if redis.call('HGET', P .. 'node:' .. ARGV[4], 'lease') ~= ARGV[5] then
  return 0
end
redis.call('DEL', P .. 'node:' .. ARGV[4])
redis.call('ZREM', P .. 'nodes', ARGV[4])
return 1
