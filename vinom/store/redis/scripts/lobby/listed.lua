-- List parties that somebody could join, the newest first: '' for those of all games, or
-- ':' and a game; how many at most
-- Returns the fields of each.
local key, found = P .. 'parties-listed' .. ARGV[4], {}
for _, id in ipairs(call('ZREVRANGE', key, 0, ARGV[5] - 1)) do
  local party, listed = read('party', id)
  if party then
    found[#found + 1] = listed
  else
    -- Its lifetime is over.
    call('ZREM', key, id)
  end
end
return found
