-- Give a room up, with its last checkpoint: its id, fence, checkpoint, its grace in ms
-- Returns 0 if this node does not have it.
local key = P .. 'room:' .. ARGV[4]
local found = call('HMGET', key, 'node', 'fence')
if found[1] and (found[1] ~= ARGV[2] or found[2] ~= ARGV[5]) then
  return 0
end
call(
  'HSET', key, 'node', '', 'lease', '0', 'fence', ARGV[5], 'data', ARGV[6], 'grace', ARGV[7],
  'released', string.format('%d', now)
)
call('PEXPIRE', key, LIFETIME)
call('SREM', P .. 'rooms-of:' .. ARGV[2], ARGV[4])
call('SADD', rooms_of(''), ARGV[4])
call('PEXPIRE', rooms_of(''), LIFETIME)
return 1
