-- Note a player's answer, unless there is one: id of the prematch, the player's id, 'yes' or
-- 'no', which ends it
-- Returns the prematch after that; nothing if it is gone, or the player is not in it.
local field = 'player:' .. ARGV[5]
local prematch, listed = read('prematch', ARGV[4])
if prematch and prematch[field] == '' then
  call('HSET', P .. 'prematch:' .. ARGV[4], field, ARGV[6])
  prematch, listed = read('prematch', ARGV[4])
  if ARGV[6] == 'no' then
    end_prematch(prematch, { [ARGV[5]] = true })
  end
end
return prematch and prematch[field] and listed or {}
