-- Note which node makes the match of a prematch: its id, the node's name
-- Returns 0 if it is gone, not everybody has said yes, or another node makes the match.
if is_stale(ARGV[2], ARGV[3]) then
  return 'STALE'
end
local id, name = ARGV[4], ARGV[5]
local prematch = read_prematch(id)
if not prematch then
  return 0
end
for field, answer in pairs(prematch) do
  if field:sub(1, 7) == 'player:' and answer ~= 'yes' then
    return 0
  end
end
if prematch.started_by == '' then
  redis.call('HSET', P .. 'prematch:' .. id, 'started_by', name)
  own_prematch(id, prematch.node)
elseif prematch.started_by ~= name then
  return 0
end
return 1
