-- ARGV: '' for parties of all games, or ':' and a game; how many at most
local key, found = P .. 'parties-listed' .. ARGV[4], {}
for _, id in ipairs(call('ZREVRANGE', key, 0, ARGV[5] - 1)) do
  local party, listed = read('party', id)
  if party then
    found[#found + 1] = listed
  else
    call('ZREM', key, id)
  end
end
return found
