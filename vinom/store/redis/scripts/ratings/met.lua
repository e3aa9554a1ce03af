-- Note who plays against whom: until when, that in ms, how many are remembered, then of each
-- player the id, and the ids of the others, one per line
local most = tonumber(ARGV[6])
for i = 7, #ARGV, 2 do
  local key = P .. 'recent:' .. ARGV[i]
  local before = call('HGET', key, 'players') or ''
  local seen, latest = {}, {}
  for player in (ARGV[i + 1] .. '\n' .. before):gmatch('[^\n]+') do
    if not seen[player] and #latest < most then
      seen[player] = true
      latest[#latest + 1] = player
    end
  end
  call('HSET', key, 'players', table.concat(latest, '\n'), 'until', ARGV[4])
  call('PEXPIRE', key, ARGV[5])
end
return 1
