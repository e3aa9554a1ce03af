-- List parties that somebody could join, the newest first: '' for those of all games, or
-- ':' and a game; how many at most
-- Returns their data.
local key, found = P .. 'parties-listed' .. ARGV[4], {}
for _, id in ipairs(redis.call('ZREVRANGE', key, 0, ARGV[5] - 1)) do
  local data = redis.call('HGET', P .. 'party:' .. id, 'data')
  if data then
    found[#found + 1] = data
  else
    -- Its lifetime is over.
    redis.call('ZREM', key, id)
  end
end
return found
