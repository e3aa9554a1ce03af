-- ARGV: until when, that in ms, how many are remembered, then of each player the id, and the ids
-- of the others, one per line
local most = tonumber(ARGV[6])
for i = 7, #ARGV, 2 do
  local key = 'recent:' .. ARGV[i]
  local before = call('HGET', P .. key, 'players') or ''
  local seen, latest = {}, {}
  for player in (ARGV[i + 1] .. '\n' .. before):gmatch('[^\n]+') do
    if not seen[player] and #latest < most then
      seen[player] = true
      latest[#latest + 1] = player
    end
  end
  write(ARGV[5], 'HSET', key, 'players', table.concat(latest, '\n'), 'until', ARGV[4])
end
return 1
