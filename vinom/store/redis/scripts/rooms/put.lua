-- Keep a checkpoint: the room's id, fence, checkpoint, its grace in ms
-- Returns 0 if another node has the room.
local key = P .. 'room:' .. ARGV[4]
local found = call('HMGET', key, 'node', 'fence')
if found[1] and (found[1] ~= ARGV[2] or found[2] ~= ARGV[5]) then
  return 0
end
call(
  'HSET', key, 'node', ARGV[2], 'lease', ARGV[3], 'fence', ARGV[5], 'data', ARGV[6],
  'grace', ARGV[7]
)
call('PEXPIRE', key, LIFETIME)
own(ARGV[4])
return 1
