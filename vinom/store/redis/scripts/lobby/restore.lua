-- Record a match of this node that this Redis has lost: id, plan, placement ('' without one),
-- how many players are in it, their ids, then the ids of its entries
-- Whatever its players wait with is taken out.
-- Returns 0, and changes nothing, if another node has it, or a player knows its end.
local id, key, last = ARGV[4], P .. 'match:' .. ARGV[4], 7 + ARGV[7]
local node = call('HGET', key, 'node')
if node and node ~= ARGV[2] then
  return 0
end
for i = 8, last do
  local ended = call('GET', P .. 'end-of:' .. ARGV[i])
  if ended and cjson.decode(ended)['end'].match_id == id then
    return 0
  end
end
if not node then
  call('HSET', key, 'plan', ARGV[5], 'entries', table.concat(ARGV, '\n', last + 1))
end
if ARGV[6] ~= '' then
  call('HSET', key, 'placement', ARGV[6])
end
local its = {}
for i = last + 1, #ARGV do
  its[ARGV[i]] = true
end
for i = 8, last do
  -- Not a player who has got another match since then.
  if call('SET', P .. 'match-of:' .. ARGV[i], id, 'PX', LIFETIME, 'NX') then
    call('HSET', key, 'player:' .. ARGV[i], 1)
    local entry = read_entry(call('GET', P .. 'entry-of:' .. ARGV[i]))
    local prematch = entry and entry.prematch and read_prematch(entry.prematch)
    if prematch then
      end_prematch(entry.prematch, prematch, {})
      entry = read_entry(entry.id)
    end
    if entry and its[entry.id] then
      take(entry, 'in_game')
      call('HSET', P .. 'entry:' .. entry.id, 'match', id)
    else
      leave(entry)
    end
  end
end
call('PEXPIRE', key, LIFETIME)
own('match', 'matches', id)
return 1
