-- Store the record of a game server: its id, fence, machine, record
-- Returns 0 if another node has it, or may have it.
local id, key = ARGV[4], P .. 'server:' .. ARGV[4]
local found = call('HMGET', key, 'node', 'fence')
if found[1] and (found[1] ~= ARGV[2] or found[2] ~= ARGV[5]) then
  return 0
end
call(
  'HSET', key, 'node', ARGV[2], 'lease', ARGV[3], 'fence', ARGV[5], 'machine', ARGV[6],
  'data', ARGV[7]
)
call('PEXPIRE', key, LIFETIME)
list(ARGV[2], id)
return 1
