-- Says how many connections some users have on a node, tells of those who came to the room or left it, and renews the node's
-- lease, in one atomic step.
--
-- KEYS[6]  at of the name that the node had before: the users given here are taken over from it
-- ARGV  1 channel  2 PUBLISH or SPUBLISH  3 node  4 sequence  5 the newest sequence that the node knows to be here, 0: none
--       6 generation that the node has seen last, or ""  7 word for a new generation  8 lease, ms  9 head of an envelope
--       10 the node's name before  11 came or left: whether any of the users has connections  12 life of keys without a node, ms
--       then three for each user: id, connections on the node, 1 if the node knows that the user was in the room, else 0
-- Returns G                                  something of the node is missing: it has to say everything again, under a new name
--         K generation users users_of_node   it is done, or was done already by an earlier attempt
local node, sequence = ARGV[3], tonumber(ARGV[4])
local state = redis.call('HMGET', KEYS[4], 'g', node)
local newest = tonumber(state[2] or 0)
if newest < tonumber(ARGV[5]) then
  return 'G'
end
local generation = state[1] or ARGV[7]
if newest < sequence then
  if ARGV[11] == 'left' then
    -- A full Redis refuses a script whose first write may need memory. Leaving must always work.
    redis.call('PEXPIRE', KEYS[5], ARGV[12])
  end
  redis.call('HSET', KEYS[4], 'g', generation, node, ARGV[4])
  local former = KEYS[6] and redis.call('ZSCORE', KEYS[3], ARGV[10])
  -- After a loss nobody was told that those who were here are gone, so nobody is told that they are back.
  local lost = ARGV[6] ~= '' and ARGV[6] ~= generation
  for i = 13, #ARGV, 3 do
    local user, wanted = ARGV[i], tonumber(ARGV[i + 1])
    local had = tonumber(redis.call('ZSCORE', KEYS[5], user) or 0)
    if wanted == 0 then
      redis.call('ZREM', KEYS[5], user)
    elseif wanted ~= had then
      redis.call('ZADD', KEYS[5], wanted, user)
    end
    if former then
      had = had + tonumber(redis.call('ZSCORE', KEYS[6], user) or 0)
      redis.call('ZREM', KEYS[6], user)
    end
    local before = connections(user)
    local after = math.max(0, before - had + wanted)
    if before ~= after then
      count(user, before, after)
    end
    local was = before > 0 or (lost and ARGV[i + 2] == '1')
    if was ~= (after > 0) then
      changed(user, after)
    end
  end
  if redis.call('ZCARD', KEYS[5]) == 0 then
    leave(node)
  else
    lease(node, tonumber(ARGV[8]), ARGV[12])
  end
  publish(ARGV[2], ARGV[1], ARGV[9])
end
return 'K ' .. generation .. ' ' .. redis.call('ZCARD', KEYS[1]) .. ' ' .. redis.call('ZCARD', KEYS[5])
