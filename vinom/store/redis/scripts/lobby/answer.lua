-- Note a player's answer, unless there is one: id of the prematch, the player's id, 'yes' or
-- 'no', which ends it
-- Returns the prematch after that; nothing if it is gone, or the player is not in it.
local key, field = P .. 'prematch:' .. ARGV[4], 'player:' .. ARGV[5]
local said = call('HGET', key, field)
if not said then
  return {}
end
if said == '' then
  call('HSET', key, field, ARGV[6])
end
local prematch, listed = read('prematch', ARGV[4])
if said == '' and ARGV[6] == 'no' then
  end_prematch(prematch, { [ARGV[5]] = true })
end
return listed
