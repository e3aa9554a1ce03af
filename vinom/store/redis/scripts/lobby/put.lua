-- Open, change or close a party: its id, the version that was read, its fields; none forget it
-- Returns 0 if somebody else was faster, else 1; and what leave returns.
local is_done, before = put_party(ARGV[4], ARGV[5], 6)
if before and (named(ARGV, 6).state or 'idle') == 'idle' then
  local entry = read('entry', before.entry)
  return { 1, leave(entry) }
end
return { is_done and 1 or 0, {} }
