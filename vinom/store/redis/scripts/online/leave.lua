-- Forget a player's line to this node, of whatever epoch: the answer to enter, which has the
-- epoch, may be lost. The player
-- Returns 'replaced' if the player has one to another node; 'free' if they are in no queue and no
-- party, so that nothing more needs to be asked; else 'held'.
local node = line_of(ARGV[4])
if node and node ~= ARGV[2] then
  return 'replaced'
end
call('DEL', P .. 'line:' .. ARGV[4])
call('SREM', P .. 'lines-of:' .. ARGV[2], ARGV[4])
local held = call('EXISTS', P .. 'entry-of:' .. ARGV[4], P .. 'party-of:' .. ARGV[4])
if held > 0 then
  note_left(ARGV[4])
end
return held > 0 and 'held' or 'free'
