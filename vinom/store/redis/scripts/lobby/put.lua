-- Store a party: its id, the version that was read, then what put_party takes
-- If it is idle and the one before waits, that entry leaves.
-- Returns 0 if somebody else was faster, else 1; and what leave returns.
local is_done, before, entry = put_party(ARGV[4], ARGV[5], 6)
if not is_done then
  return { 0, {} }
end
if ARGV[8] == 'idle' and (before == 'in_queue' or before == 'prematch') then
  return { 1, leave(read_entry(entry)) }
end
return { 1, {} }
