-- Returns for each the rating ('' for a newcomer), and whom the player met (ids, one per line).
local list, at, found = ARGV[4], tonumber(ARGV[5]), {}
for i = 6, #ARGV do
  local recent = call('HMGET', P .. 'recent:' .. ARGV[i], 'players', 'until')
  local lasts = recent[1] and tonumber(recent[2]) > at
  found[#found + 1] = rating_of(list, ARGV[i], at) or ''
  found[#found + 1] = lasts and recent[1] or ''
end
return found
