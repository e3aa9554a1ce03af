-- Returns the type of the rules' key (or the name of another key of a wrong type), the rules,
-- what names this run of Redis, each realm with its back end, each service with its code.
local kind = call('TYPE', P .. 'routing:rules').ok
local rules = kind == 'string' and call('GET', P .. 'routing:rules') or ''
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
