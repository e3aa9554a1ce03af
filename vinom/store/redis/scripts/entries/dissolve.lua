-- End a prematch that was declined, or not answered in time: its id, the time (seconds, in
-- the nodes' clocks, as its end)
-- The entries of players who said no are forgotten, and at the end of the time those of
-- players who said nothing; the others go back.
-- Returns the prematch as it was; nothing, and changes nothing, if it is gone, started, or
-- neither declined nor overdue.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local prematch, listed = read_prematch(ARGV[4])
if not prematch or prematch.started_by ~= '' then
  return {}
end
local is_over = tonumber(ARGV[5]) >= tonumber(prematch['until'])
local is_declined, leaves = false, {}
for field, answer in pairs(prematch) do
  local player = field:match('^player:(.*)$')
  if player then
    is_declined = is_declined or answer == 'no'
    leaves[player] = answer == 'no' or is_over and answer ~= 'yes'
  end
end
if not is_over and not is_declined then
  return {}
end
end_prematch(ARGV[4], prematch, function(_, players)
  for player in players:gmatch('[^\n]+') do
    if leaves[player] then
      return true
    end
  end
  return false
end)
return listed
