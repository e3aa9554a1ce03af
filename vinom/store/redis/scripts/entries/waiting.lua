-- Count the players of a queue: queue
-- Returns how many wait, how many of them can be matched, and since when ('' if none).
local its = P .. 'queue:' .. ARGV[4]
first(ARGV[4], its .. ':places')
local oldest = first(ARGV[4], its .. ':ready')
local players, ready = unpack(redis.call('HMGET', its, 'players', 'ready'))
return { players or '0', ready or '0', oldest and oldest[2] or '' }
