-- Shared by the steps on parties.
--
-- A party's hash and the way to it from its members live equally long. 'parties-in' has the
-- parties of each state by the ends of their lifetimes, to count them.

-- Take a party out of what leads to it; state, game and players are those of its hash.
local function take_out(id, state, game, players)
  redis.call('ZREM', P .. 'parties-in:' .. state, id)
  redis.call('ZREM', P .. 'parties-listed', id)
  if game ~= '' then
    redis.call('ZREM', P .. 'parties-listed:' .. game, id)
  end
  for player in players:gmatch('[^\n]+') do
    redis.call('DEL', P .. 'party-of:' .. player)
  end
end

-- Add a party to a sorted set.
local function put_in(name, score, id)
  redis.call('ZADD', P .. name, score, id)
  redis.call('PEXPIRE', P .. name, LIFETIME)
end
