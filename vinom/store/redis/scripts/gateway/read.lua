-- Read the rules of a gateway and the back ends of its realms, both of one moment
-- Returns the type of the rules' key, the rules, what names this run of Redis, and each
-- realm with its back end.
local kind = redis.call('TYPE', P .. 'routing:rules').ok
local rules = ''
if kind == 'string' then
  rules = redis.call('GET', P .. 'routing:rules')
end
local mapping = redis.call('TYPE', P .. 'realm:mapping').ok
if mapping ~= 'hash' and mapping ~= 'none' then
  kind = 'mapping'
end
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
local found = { kind, rules, run }
if mapping == 'hash' then
  for _, one in ipairs(redis.call('HGETALL', P .. 'realm:mapping')) do
    found[#found + 1] = one
  end
end
return found
