-- Returns the fields of the party; data, place and suspension of the entry; the fields of the
-- prematch; plan and placement ('' without one) of the match; the end of the latest match; the
-- rank of the entry in its queue, 0 in a prematch; and who has a line elsewhere.
local function of(kind)
  return read(kind, call('GET', P .. kind .. '-of:' .. ARGV[4]))
end
local its, party = of('party')
local entry, match = of('entry'), of('match')
local _, prematch = read('prematch', entry and entry.prematch)
local elsewhere = {}
for player in each(ARGV[5] == '1' and (its or entry or {}).players or '') do
  elsewhere[#elsewhere + 1] = absence(player) == 0 and player or nil
end
return { party, entry and { entry.data, entry.place, entry.suspended } or {}, prematch,
  match and { match.plan, match.placement or '' } or {},
  call('GET', P .. 'end-of:' .. ARGV[4]) or '', entry and rank(entry) or 0, elsewhere }
