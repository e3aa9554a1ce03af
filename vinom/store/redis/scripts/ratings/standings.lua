-- Returns for each the rating ('' for a newcomer), and whom the player met (ids, one per line).
local list, at, found = ARGV[4], tonumber(ARGV[5]), {}
for i = 6, #ARGV do
  found[#found + 1] = lasting('rating:' .. list .. ':' .. ARGV[i], 'rating', at) or ''
  found[#found + 1] = lasting('recent:' .. ARGV[i], 'players', at) or ''
end
return found
