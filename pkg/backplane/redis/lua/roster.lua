-- The shared beginning of assert.lua and depart.lua.
--
-- KEYS[1] here   sorted set of the users in the room, all with score 0, so that it is in the order of their ids
-- KEYS[2] more   hash: user, connections beyond the first; most users have none
-- KEYS[3] nodes  sorted set of the nodes with connections in the room, by when their lease ends, ms
-- KEYS[4] state  hash: g generation, a random word for one unbroken life of these keys; <node> its newest sequence
-- KEYS[5] at     sorted set of the users with connections on one node, by how many
--
-- What is in here and more is always the sum of at over all nodes in nodes, also of those whose lease has ended: they stay until a
-- node that lives takes them out, with depart.lua. So whoever is told to be here is also told to be gone. Where no node lives,
-- nobody is listed, and all keys expire long after, at last: it must be there for as long as its node is in nodes.
local changes = {}

local function connections(user)
  if not redis.call('ZSCORE', KEYS[1], user) then
    return 0
  end
  return 1 + tonumber(redis.call('HGET', KEYS[2], user) or 0)
end

local function count(user, before, after)
  if after <= 0 then
    redis.call('ZREM', KEYS[1], user)
  elseif before == 0 then
    redis.call('ZADD', KEYS[1], 0, user)
  end
  if after > 1 then
    redis.call('HSET', KEYS[2], user, after - 1)
  elseif before > 1 then
    redis.call('HDEL', KEYS[2], user)
  end
end

-- A change is <connections>:<length of the id>:<id>.
local function changed(user, connections)
  changes[#changes + 1] = string.format('%d:%d:', connections, #user) .. user
end

local function publish(command, channel, head)
  if #changes > 0 then
    redis.call(command, channel, head .. table.concat(changes))
  end
end

local function leave(node)
  redis.call('ZREM', KEYS[3], node)
  redis.call('HDEL', KEYS[4], node)
  if redis.call('ZCARD', KEYS[3]) == 0 then
    redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
  end
end
