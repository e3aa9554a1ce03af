local fence, ending = ARGV[6], ARGV[7]
local node, its, players, opener =
  unpack(call('HMGET', P .. THING, 'node', 'fence', 'players', 'opener'))
if node ~= ARGV[2] then
  call('SREM', P .. OF .. ARGV[2], ID)
end
if node and not ((node == ARGV[2] or is_offered(node)) and its == fence) then
  return 0
end
call('DEL', P .. THING)
call('SREM', P .. OF .. (node or ''), ID)
call('ZREM', P .. FREE, ID)
if players then
  call('DEL', P .. ASLEEP .. ID)
  seat(players, '')
  count_opened(opener, -1)
end
if ending ~= '' then
  write(LIFETIME, 'HSET', THING, 'node', '', 'fence', fence, 'ending', ending)
elseif node and fence ~= '1' then
  write(REMEMBERED, 'HSET', THING, 'node', '', 'fence', fence)
end
return 1
