-- Whatever its epoch: the answer to enter, which has it, may be lost. Returns 'replaced' if the
-- player has one to another node; 'free' if nothing more needs to be asked; else 'held'.
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
