-- Find the places of entries in their queues: ids
-- Returns as many numbers; 0 for an entry that is gone, or in a prematch or match.
local found = {}
for i = 4, #ARGV do
  local entry = read_entry(ARGV[i])
  found[i - 3] = entry
      and not entry.prematch
      and not entry.match
      and redis.call('ZRANK', P .. 'queue:' .. entry.queue .. ':places', entry.place) + 1
    or 0
end
return found
