-- ARGV: id, and the time, or '' to end it at once. Returns the prematch as it was.
local prematch, listed = read('prematch', ARGV[4])
local is_timed = ARGV[5] ~= ''
if not prematch or is_timed and tonumber(ARGV[5]) < tonumber(prematch['until']) then return {} end
local silent = is_timed and silent_in(prematch) or {}
if next(silent) or not is_timed then end_prematch(prematch, silent) end
return listed
