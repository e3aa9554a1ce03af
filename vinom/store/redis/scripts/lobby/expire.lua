-- End a prematch that was not answered in time: its id, the time (seconds, in the nodes'
-- clocks, as its end)
-- Entries of players who said nothing leave. One that all have accepted does not end.
-- Returns the prematch as it was; nothing, and changes nothing, if it is gone or not overdue.
local prematch, listed = read('prematch', ARGV[4])
if not prematch or tonumber(ARGV[5]) < tonumber(prematch['until']) then return {} end
local silent = who_said(prematch, '')
if next(silent) then end_prematch(prematch, silent) end
return listed
