-- End a prematch that was not answered in time: its id, the time (seconds, in the nodes'
-- clocks, as its end)
-- Entries of players who said nothing leave.
-- Returns the prematch as it was; nothing, and changes nothing, if it is gone or not overdue.
if is_stale(ARGV[2], ARGV[3]) then return 'STALE' end
local prematch, listed = read_prematch(ARGV[4])
local silent = prematch and who_said(prematch, '')
if not prematch or not next(silent) or tonumber(ARGV[5]) < tonumber(prematch['until']) then
  return {}
end
end_prematch(ARGV[4], prematch, silent)
return listed
