-- List rooms of a node whose lease was over before their grace: its id (empty for rooms that
-- were released), how many at most
-- Returns their ids.
local ends = tonumber(call('HGET', P .. 'node:' .. ARGV[4], 'ends') or '0')
local found = {}
for _, id in ipairs(call('SRANDMEMBER', rooms_of(ARGV[4]), ARGV[5])) do
  local node, grace, released = unpack(
    call('HMGET', P .. 'room:' .. id, 'node', 'grace', 'released')
  )
  if ARGV[4] == '' then
    ends = tonumber(released or '0')
  end
  if node ~= ARGV[4] then
    -- Its lifetime is over.
    call('SREM', rooms_of(ARGV[4]), id)
  elseif now >= ends + tonumber(grace or '0') * 1000 then
    found[#found + 1] = id
  end
end
return found
