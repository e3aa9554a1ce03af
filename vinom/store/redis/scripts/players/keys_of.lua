-- Find the newest keys of players: their ids
-- Returns hash of the key and data of each known player.
local found = {}
for i = 4, #ARGV do
  local hash = redis.call('GET', P .. 'key-of:' .. ARGV[i])
    or redis.call('GET', P .. 'guest:' .. ARGV[i])
  local data = hash and redis.call('GET', P .. 'player:' .. hash)
  if data then
    found[#found + 1] = hash
    found[#found + 1] = data
  end
end
return found
