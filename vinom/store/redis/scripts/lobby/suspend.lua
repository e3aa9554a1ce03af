local id, is_away = ARGV[4], ARGV[5]
local entry, is_elsewhere = read('entry', id), is_away == '1'
for player in each(entry and entry.players or '') do
  local node = call('HGET', P .. 'line:' .. player, 'node')
  is_elsewhere = is_elsewhere and node and node ~= ARGV[2]
end
if not entry or entry.match or is_elsewhere then
  return 0
end
suspend(entry, is_away)
if is_away == '0' then
  -- Its player may come from another node, which may be dead.
  take_over('entry', 'entries', id, entry.node)
  keep(entry, LIFETIME)
end
return 1
