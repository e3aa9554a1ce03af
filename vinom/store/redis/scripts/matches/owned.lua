-- List some running matches of a node: its id, how many at most
-- Returns their plans.
local found = {}
for _, id in ipairs(redis.call('SRANDMEMBER', P .. 'matches-of:' .. ARGV[4], ARGV[5])) do
  local plan = redis.call('HGET', P .. 'match:' .. id, 'plan')
  if plan then
    found[#found + 1] = plan
  else
    -- Its lifetime is over.
    redis.call('SREM', P .. 'matches-of:' .. ARGV[4], id)
  end
end
return found
