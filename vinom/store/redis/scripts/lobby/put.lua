-- Store a party: its id, the version that was read, its fields
-- If it is idle and the one before waits, that entry leaves.
-- Returns 0 if somebody else was faster, else 1; and what leave returns.
local is_done, before = put_party(ARGV[4], ARGV[5], 6)
local waited = before and (before.state == 'in_queue' or before.state == 'prematch')
if waited and named(ARGV, 6).state == 'idle' then
  return { 1, leave(read('entry', before.entry)) }
end
return { is_done and 1 or 0, {} }
