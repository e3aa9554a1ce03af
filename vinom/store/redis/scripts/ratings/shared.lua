-- Times are seconds since the Unix epoch, of the nodes' clocks: lifetimes only clear up.

-- A field of a hash, unless that is to be forgotten.
local function lasting(key, field, at)
  local found = call('HMGET', P .. key, field, 'until')
  return found[1] and tonumber(found[2]) > at and found[1] or nil
end
