-- Forget a thing that is over: id, kind, fence, why the game in a room ended ('' if none did)
-- Returns 0 if another node has it, or had it at its end.
local fence, ending = ARGV[6], ARGV[7]
local node, its, data = unpack(call('HMGET', KEY, 'node', 'fence', 'data'))
if node ~= ARGV[2] then
  call('SREM', OF .. ARGV[2], ID)
end
local is_offered = KIND == 'server' and node == '' and data
if node and (its ~= fence or node ~= ARGV[2] and not is_offered) then
  return 0
end
call('DEL', KEY)
call('SREM', OF .. (node or ''), ID)
if ending ~= '' then
  call('HSET', KEY, 'node', '', 'fence', fence, 'ending', ending)
  call('PEXPIRE', KEY, LIFETIME)
elseif node and fence ~= '1' then
  call('HSET', KEY, 'node', '', 'fence', fence)
  call('PEXPIRE', KEY, REMEMBERED)
end
return 1
