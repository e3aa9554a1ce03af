-- Returns of each its plan, whether it has a place (0 or 1), and the ids of its entries.
local found = {}
for _, id in ipairs(call('SRANDMEMBER', P .. 'matches-of:' .. ARGV[4], ARGV[5])) do
  local match = read('match', id)
  if match then
    found[#found + 1] = { match.plan, match.placement and 1 or 0, match.entries }
  else
    call('SREM', P .. 'matches-of:' .. ARGV[4], id)
  end
end
return found
