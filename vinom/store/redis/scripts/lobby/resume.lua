-- Make an entry matchable again, at its old place, and this node its owner: id
-- Returns 0 if it does not wait.
local entry = read_entry(ARGV[4])
if not entry or entry.match then
  return 0
end
local was_suspended = entry.suspended == '1'
if was_suspended then
  call('HSET', P .. 'entry:' .. entry.id, 'suspended', 0)
end
if was_suspended and not entry.prematch then
  local its = P .. 'queue:' .. entry.queue
  call('ZADD', its .. ':ready', call('ZSCORE', its .. ':places', entry.place), entry.place)
  call('HINCRBY', its, 'ready', size_of(entry.place))
  call('HINCRBY', P .. 'queued', ':suspended', -1)
end
if entry.node ~= ARGV[2] then
  -- Its player came here from another node, which may be dead.
  own('entry', 'entries', entry.id, entry.node)
end
if was_suspended or entry.node ~= ARGV[2] then
  keep(entry, LIFETIME)
  keep_queue(entry.queue)
end
return 1
