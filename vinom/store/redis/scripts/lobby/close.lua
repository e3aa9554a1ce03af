-- Forget a party: id, the version that was read
-- Returns 0 if it is gone, or its version is another, else 1; and what leave returns.
local party = read('party', ARGV[4])
if not party or party.version ~= ARGV[5] then
  return { 0, {} }
end
call('DEL', P .. 'party:' .. party.id)
unlist(party)
lead('party', party.players)
return { 1, leave(read('entry', party.entry)) }
