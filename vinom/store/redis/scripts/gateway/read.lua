-- Read the rules of a gateway, the back ends of its realms and the codes of services in
-- one step
-- Returns the type of the rules' key (or the name of another key of a wrong type), the
-- rules, what names this run of Redis, each realm with its back end, and each service
-- with its code.
local kind = call('TYPE', P .. 'routing:rules').ok
local rules = ''
if kind == 'string' then
  rules = call('GET', P .. 'routing:rules')
end
local hashes = {}
for number, key in ipairs({ 'realm:mapping', 'services' }) do
  local is = call('TYPE', P .. key).ok
  if is ~= 'hash' and is ~= 'none' then
    kind = key
  end
  hashes[number] = is == 'hash' and call('HGETALL', P .. key) or {}
end
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
return { kind, rules, run, hashes[1], hashes[2] }
