-- Count the players of a queue: queue
-- Returns how many wait, how many of them can be matched, and since when ('' if none).
local its = P .. 'queue:' .. ARGV[4]
oldest(its .. ':places', ARGV[4])
local since = oldest(its .. ':ready', ARGV[4])
local all, ready = count(ARGV[4])
return { all, ready, since }
