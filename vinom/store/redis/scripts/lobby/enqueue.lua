-- Store an entry, unless one of its players waits or plays: id, data, queue, since, suspended,
-- how many players, their ids; then '' for a lone player, or a party's id, the version that was
-- read, and what put_party takes
-- Returns its place, why it was refused ('' if it was not), who plays; and then as waiting.
local id, data, queue, since, suspended, count = unpack(ARGV, 4, 9)
local players, party = table.concat(ARGV, '\n', 10, 9 + count), ARGV[10 + count]
local entry = read_entry(id)
if not entry then
  for _, kind in ipairs({ 'entry', 'match', party == '' and 'party' or nil }) do
    for player in each(players) do
      if call('EXISTS', P .. kind .. '-of:' .. player) == 1 then
        local refusals = { entry = 'queued', match = 'playing', party = 'changed' }
        return { 0, refusals[kind], kind == 'match' and player or '' }
      end
    end
  end
  if party ~= '' and not put_party(party, ARGV[11 + count], 12 + count) then
    return { 0, 'changed', '' }
  end
  local place = string.format('%016d:%d:%s', call('INCR', P .. 'arrivals'), count, id)
  entry = { id = id, queue = queue, place = place, since = since, suspended = suspended,
    players = players }
  call('HSET', P .. 'entry:' .. id, 'data', data, 'queue', queue, 'place', place, 'since', since,
    'suspended', suspended, 'players', players, 'party', party)
  own('entry', 'entries', id)
  keep(entry, LIFETIME)
  put_in(entry)
end
local its = P .. 'queue:' .. entry.queue
local oldest = call('ZRANGE', its .. ':ready', 0, 0, 'WITHSCORES')[2]
local all, ready = unpack(call('HMGET', its, 'players', 'ready'))
local place = call('ZRANK', its .. ':places', entry.place)
return { place and place + 1 or 1, '', '', all or '0', ready or '0', oldest or '' }
