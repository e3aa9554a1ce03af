-- Find everything about a player: the player's id
-- Returns the fields of the party; data, place and suspension of the entry; the fields of the
-- prematch; plan and placement ('' without one) of the match; and the end of the latest match.
-- Each is empty if there is none.
local function of(kind)
  return read(kind, call('GET', P .. kind .. '-of:' .. ARGV[4]))
end
local _, party = of('party')
local entry, match = of('entry'), of('match')
local _, prematch = read('prematch', entry and entry.prematch)
return { party, entry and { entry.data, entry.place, entry.suspended } or {}, prematch,
  match and { match.plan, match.placement or '' } or {},
  call('GET', P .. 'end-of:' .. ARGV[4]) or '' }
