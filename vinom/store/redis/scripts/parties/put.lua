-- Store a party, in place of the version that was read: id, that version ('' if the party
-- is new), the new version, data, state, game, is it listed (0 or 1), then the members' ids
-- Returns 0, and changes nothing, if its version is another, or a member is in another party.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local id, read, version, data, state, game, is_listed = unpack(ARGV, 4, 10)
local key = P .. 'party:' .. id
local before = redis.call('HMGET', key, 'version', 'state', 'game', 'players')
if (before[1] or '') ~= read then
  return 0
end
for i = 11, #ARGV do
  if (redis.call('GET', P .. 'party-of:' .. ARGV[i]) or id) ~= id then
    return 0
  end
end
-- One that is listed already keeps its place.
local listed_at = redis.call('ZSCORE', P .. 'parties-listed', id) or now
if before[1] then
  take_out(id, before[2], before[3], before[4])
end
redis.call('HSET', key, 'version', version, 'data', data, 'state', state, 'game', game,
  'players', table.concat(ARGV, '\n', 11))
redis.call('PEXPIRE', key, LIFETIME)
for i = 11, #ARGV do
  redis.call('SET', P .. 'party-of:' .. ARGV[i], id, 'PX', LIFETIME)
end
put_in('parties-in:' .. state, now + LIFETIME * 1000, id)
if is_listed == '1' then
  put_in('parties-listed', listed_at, id)
  if game ~= '' then
    put_in('parties-listed:' .. game, listed_at, id)
  end
end
return 1
