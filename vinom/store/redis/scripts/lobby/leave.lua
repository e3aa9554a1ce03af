local player, only, seconds, must_be_ready = unpack(ARGV, 4, 7)
local id = call('GET', P .. 'entry-of:' .. player)
local entry = (only == '' or only == id) and read('entry', id)
local away = tonumber(seconds) > 0 and absence(player) or -1
if away >= 0 and away < 1e6 * seconds or must_be_ready == '1' and not is_ready(entry) then
  return {}
end
return leave(entry)
