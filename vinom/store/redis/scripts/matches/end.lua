-- Record the end of a match, for the players still in it: id, end, its lifetime in ms
-- Returns 0 if it was over already.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local id = ARGV[4]
local key = P .. 'match:' .. id
local fields = redis.call('HKEYS', key)
if not fields[1] then
  return 0
end
redis.call('SREM', P .. 'matches-of:' .. redis.call('HGET', key, 'node'), id)
local gone = { key }
for _, field in ipairs(fields) do
  local player = field:match('^player:(.*)$')
  if player then
    gone[#gone + 1] = P .. 'match-of:' .. player
    redis.call('SET', P .. 'end-of:' .. player, ARGV[5], 'PX', ARGV[6])
  end
end
redis.call('DEL', unpack(gone))
return 1
