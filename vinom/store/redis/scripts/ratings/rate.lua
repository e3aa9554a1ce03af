-- ARGV ends with each id and rating of the players before, and then each id, rating, until when
-- it lasts, and ms of the players after.
local list, match, round, at, newcomer, memory, count = unpack(ARGV, 4, 10)
local rated = P .. 'rated:' .. match .. ':' .. round
if tonumber(call('GET', rated) or '0') > tonumber(at) then
  return 'known'
end
for i = 11, 10 + 2 * count, 2 do
  local rating = lasting('rating:' .. list .. ':' .. ARGV[i], 'rating', tonumber(at))
  if (rating or newcomer) ~= ARGV[i + 1] then
    return 'changed'
  end
end
call('SET', rated, string.format('%.3f', at + memory / 1000), 'PX', memory)
for i = 11 + 2 * count, #ARGV, 4 do
  local key = 'rating:' .. list .. ':' .. ARGV[i]
  write(ARGV[i + 3], 'HSET', key, 'rating', ARGV[i + 1], 'until', ARGV[i + 2])
end
return 'done'
