-- Forget lines of a node that is gone: its id, how many at most
-- Returns their players.
if is_alive(ARGV[4]) then
  -- It came back meanwhile.
  return {}
end
local players = call('SPOP', P .. 'lines-of:' .. ARGV[4], ARGV[5])
for _, player in ipairs(players) do
  if line_of(player) == ARGV[4] then
    call('DEL', P .. 'line:' .. player)
    note_left(player)
  end
end
return players
