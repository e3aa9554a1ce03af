-- A party of which nobody is left in the match is idle then.
local match, player = read('match', ARGV[4]), ARGV[5]
if not match or those_in(match.id, player) == '' then
  return 0
end
lead('match', player)
for entry_id in each(match.entries) do
  local entry = read('entry', entry_id)
  if entry and set_of(entry.players)[player] and those_in(match.id, entry.players) == '' then
    follow(entry, 'idle')
  end
end
return 1
