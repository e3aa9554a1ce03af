-- List parties that somebody could join, the newest first: '' for those of all games, or
-- ':' and a game; how many at most
-- Returns the same of each as find.
local key, found = P .. 'parties-listed' .. ARGV[4], {}
for _, id in ipairs(call('ZREVRANGE', key, 0, ARGV[5] - 1)) do
  local fields = call('HMGET', P .. 'party:' .. id, 'data', 'state', 'entry', 'version', 'unready')
  if fields[1] then
    found[#found + 1] = fields
  else
    -- Its lifetime is over.
    call('ZREM', key, id)
  end
end
return found
