-- List the running matches, oldest first.
-- Returns plan and placement ('' without one) of each.
local found = {}
for _, id in ipairs(redis.call('ZRANGE', P .. 'matches', 0, -1)) do
  local plan, placement = unpack(redis.call('HMGET', P .. 'match:' .. id, 'plan', 'placement'))
  if plan then
    found[#found + 1] = plan
    found[#found + 1] = placement or ''
  else
    -- Its lifetime is over.
    redis.call('ZREM', P .. 'matches', id)
  end
end
return found
