-- ARGV: id, how many players, a party's id ('' for a lone player), how many names and values its
-- fields have, those; then the version of the party that was read, and its fields
-- Returns its place, why it was refused ('' if it was not), who plays; and what count returns.
local id, size, party, last = ARGV[4], ARGV[5], ARGV[6], 7 + ARGV[7]
local entry = read('entry', id)
if not entry then
  entry = named({ unpack(ARGV, 8, last) }, 1)
  for _, kind in ipairs({ 'entry', 'match', party == '' and 'party' or nil }) do
    for player in each(entry.players) do
      if call('EXISTS', P .. kind .. '-of:' .. player) == 1 then
        local refusals = { entry = 'queued', match = 'playing', party = 'changed' }
        return { 0, refusals[kind], kind == 'match' and player or '' }
      end
    end
  end
  if party ~= '' and not put_party(party, ARGV[last + 1], last + 2) then
    return { 0, 'changed', '' }
  end
  local number = write(LIFETIME, 'INCR', 'arrivals')
  entry.id, entry.place = id, string.format('%016d:%d:%s', number, size, id)
  call('HSET', P .. 'entry:' .. id, 'place', entry.place, 'party', party, unpack(ARGV, 8, last))
  take_over('entry', 'entries', id)
  wait(entry)
  keep(entry, LIFETIME)
end
return { math.max(1, rank(entry)), '', '', count(entry.queue) }
