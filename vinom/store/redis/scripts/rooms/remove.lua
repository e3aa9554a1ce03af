-- Forget a room that has closed: its id, fence, why the game in it ended (empty if none was played)
-- Returns 0 if another node has it.
local key = P .. 'room:' .. ARGV[4]
local found = call('HMGET', key, 'node', 'fence')
if found[1] ~= ARGV[2] or found[2] ~= ARGV[5] then
  if found[1] ~= ARGV[2] then
    call('SREM', P .. 'rooms-of:' .. ARGV[2], ARGV[4])
  end
  return 0
end
call('DEL', key)
if ARGV[6] ~= '' then
  call('HSET', key, 'node', '', 'fence', ARGV[5], 'ending', ARGV[6])
  call('PEXPIRE', key, LIFETIME)
elseif ARGV[5] ~= '1' then
  call('HSET', key, 'node', '', 'fence', ARGV[5])
  call('PEXPIRE', key, REMEMBERED)
end
call('SREM', P .. 'rooms-of:' .. ARGV[2], ARGV[4])
return 1
