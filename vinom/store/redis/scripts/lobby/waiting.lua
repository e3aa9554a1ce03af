-- Count the players of a queue: queue
-- Returns how many wait, how many of them can be matched, and since when ('' if none).
local its = P .. 'queue:' .. ARGV[4]
-- The first of a sorted set whose entry still exists, with its score.
local function first(key)
  for _ = 1, MOST_GONE do
    local found = call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if not found[1] then
      return nil
    end
    if exists(ARGV[4], found[1]) then
      return found[2]
    end
  end
end
first(its .. ':places')
local oldest = first(its .. ':ready')
local players, ready = unpack(call('HMGET', its, 'players', 'ready'))
return { players or '0', ready or '0', oldest or '' }
