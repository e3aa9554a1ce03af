-- ARGV: id, kind, fence, data, a room's grace in ms or a game server's machine, and 1 if any node
-- may take it over from now on. A game server may be offered again. Of a lasting room also who
-- has seats, the address of who opened it, and how old the data is in ms; one that is given
-- back without these stays as it was.
local fence, data, about, is_free, players, opener, age = unpack(ARGV, 6, 12)
local node, its, before, was_opened, since =
  unpack(call('HMGET', P .. THING, 'node', 'fence', 'players', 'opener', 'released'))
local is_own = node == ARGV[2] or is_free == '1' and is_offered(node)
if node and not (is_own and its == fence) then
  return 0
end
if before and not players and is_free == '1' then
  players, opener, age = before, was_opened, math.max(0, (now - since) / 1000)
end
local kept_at = now - 1000 * (age or 0)
if players then
  local sleeps = is_free == '1'
  local lives = LASTING + (sleeps and tonumber(about) or 0)
  seat(before, players)
  if not before then
    count_opened(opener, 1)
  end
  if sleeps then
    -- A hash that once was large stays so.
    call('DEL', P .. THING)
    call('SET', P .. ASLEEP .. ID, data, 'PX', lives)
  else
    call('DEL', P .. ASLEEP .. ID)
    call('HSET', P .. THING, 'data', data)
  end
  take(lives, node, fence, 'players', players, 'opener', opener,
    'released', string.format('%d', kept_at))
  look_at(sleeps and now + 1000 * about or lease_ends(ARGV[2]))
  keep_keys(players, lives)
else
  take(LIFETIME, node, fence, 'data', data, KIND == 'room' and 'grace' or 'machine', about)
end
if is_free == '1' then
  call('HSET', P .. THING, 'node', '', 'released', string.format('%d', kept_at))
  call('SREM', P .. OF .. ARGV[2], ID)
  if KIND ~= 'room' then
    write(LIFETIME, 'SADD', OF, ID)
  elseif not players then
    look_at(now + 1000 * about)
  end
end
return 1
