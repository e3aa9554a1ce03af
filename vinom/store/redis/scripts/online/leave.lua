-- Forget a line of this node: the player, the line's epoch
-- Returns 'replaced' if the player has a newer one; 'free' if they are in no queue and no
-- party, so that nothing more needs to be asked; else 'held'.
local node, epoch = line_of(ARGV[4])
if node and (node ~= ARGV[2] or epoch ~= tonumber(ARGV[5])) then
  return 'replaced'
end
redis.call('DEL', P .. 'line:' .. ARGV[4])
redis.call('SREM', P .. 'lines-of:' .. ARGV[2], ARGV[4])
local held = redis.call('EXISTS', P .. 'entry-of:' .. ARGV[4], P .. 'party-of:' .. ARGV[4])
if held > 0 then
  note_left(ARGV[4])
end
return held > 0 and 'held' or 'free'
