local id, player, said = unpack(ARGV, 4, 6)
local field = 'player:' .. player
local prematch, listed = read('prematch', id)
if prematch and prematch[field] == '' then
  call('HSET', P .. 'prematch:' .. id, field, said)
  prematch, listed = read('prematch', id)
  if said == 'no' then
    end_prematch(prematch, { [player] = true })
  end
end
return prematch and prematch[field] and listed or {}
