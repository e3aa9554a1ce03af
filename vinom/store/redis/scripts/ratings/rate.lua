-- Replace ratings, once per match and round: the list, match, round, the time, a newcomer's
-- rating, for how many ms the round is remembered, the number of players before, then of
-- each id and rating; then of each player after id, rating, until when it lasts, and ms
-- Returns 'known' if this round was rated, 'changed' if a rating is another one than before.
local list, match, round, at, newcomer, memory, count = unpack(ARGV, 4, 10)
local rated = P .. 'rated:' .. match .. ':' .. round
if tonumber(call('GET', rated) or '0') > tonumber(at) then
  return 'known'
end
local first = 11
for i = first, first + 2 * count - 1, 2 do
  if (rating_of(list, ARGV[i], tonumber(at)) or newcomer) ~= ARGV[i + 1] then
    return 'changed'
  end
end
call('SET', rated, string.format('%.3f', at + memory / 1000), 'PX', memory)
for i = first + 2 * count, #ARGV, 4 do
  local key = 'rating:' .. list .. ':' .. ARGV[i]
  write(ARGV[i + 3], 'HSET', key, 'rating', ARGV[i + 1], 'until', ARGV[i + 2])
end
return 'done'
