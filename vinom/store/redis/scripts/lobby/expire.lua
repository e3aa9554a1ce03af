-- End a prematch: its id, and the time (seconds, in the nodes' clocks, as its end) if it was not
-- answered in time: entries of players who said nothing leave, and one that all have accepted
-- does not end; or ''.
-- Returns the prematch as it was; nothing, and changes nothing, if it is gone or not overdue.
local prematch, listed = read('prematch', ARGV[4])
local is_timed = ARGV[5] ~= ''
if not prematch or is_timed and tonumber(ARGV[5]) < tonumber(prematch['until']) then return {} end
local silent = is_timed and silent_in(prematch) or {}
if next(silent) or not is_timed then end_prematch(prematch, silent) end
return listed
