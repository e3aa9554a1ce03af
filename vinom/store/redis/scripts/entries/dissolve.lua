-- End a prematch that was declined, or not answered in time: its id, the time (seconds, in
-- the nodes' clocks, as its end)
-- The entries of players who said no are forgotten, or, if nobody did until the end of the
-- time, those of players who said nothing; the others go back.
-- Returns the prematch as it was; nothing, and changes nothing, if it is gone, started, or
-- neither declined nor overdue.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local prematch, listed = read_prematch(ARGV[4])
if not prematch or prematch.started_by ~= '' then
  return {}
end
local declined, silent = {}, {}
for field, answer in pairs(prematch) do
  local player = field:match('^player:(.*)$')
  if player and answer == 'no' then
    declined[player] = true
  elseif player and answer ~= 'yes' then
    silent[player] = true
  end
end
local leaves = next(declined) and declined or silent
if leaves == silent and tonumber(ARGV[5]) < tonumber(prematch['until']) then
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
