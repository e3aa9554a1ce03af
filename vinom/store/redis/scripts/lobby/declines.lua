-- Returns for each player how many, and when the latest was ('0' if there was none).
local found = {}
for i = 4, #ARGV do
  local count, last = unpack(call('HMGET', P .. 'declines:' .. ARGV[i], 'count', 'last'))
  found[#found + 1] = count or '0'
  found[#found + 1] = last or '0'
end
return found
