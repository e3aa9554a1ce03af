-- Find everything about a player: the player's id
-- Returns: data, state, entry, version and unready of the party; data, place and suspension of
-- the entry; the fields of the prematch; plan and placement ('' without one) of the match; the
-- end of the latest match. Each is empty if there is none.
local player, found = ARGV[4], { {}, {}, {}, {}, '' }
local function to(kind, ...)
  local id = call('GET', P .. kind .. '-of:' .. player)
  local fields = id and call('HMGET', P .. kind .. ':' .. id, ...) or {}
  for i = 2, #fields do
    fields[i] = fields[i] or ''
  end
  return fields[1] and fields or {}
end
found[1] = to('party', 'data', 'state', 'entry', 'version', 'unready')
found[2] = to('entry', 'data', 'place', 'suspended', 'prematch')
if found[2][4] and found[2][4] ~= '' then
  found[3] = call('HGETALL', P .. 'prematch:' .. found[2][4])
end
found[4] = to('match', 'plan', 'placement')
found[5] = call('GET', P .. 'end-of:' .. player) or ''
return found
