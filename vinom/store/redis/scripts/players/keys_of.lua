-- Returns hash of the key and data of each known player.
local found = {}
for i = 5, #ARGV do
  local hash = call('GET', P .. 'key-of:' .. ARGV[i])
  local data, ends = unpack(call('HMGET', P .. 'player:' .. (hash or ''), 'data', 'until'))
  if data and tonumber(ends) > tonumber(ARGV[4]) then
    found[#found + 1] = hash
    found[#found + 1] = data
  end
end
return found
