-- Counts a user's connections over all nodes, and takes out the oldest that are over the limit.
--
-- KEYS[1] conns  sorted set of "node connection", by when they were opened, µs by the store's clock
-- KEYS[2] pods   hash: by node, when it told of this user last, ms
-- KEYS[3] seen   exists while the user is remembered as one who exists
-- ARGV  1 node  2 limit, 0: nothing is counted  3 life of what is counted, ms  4 life of seen, ms, 0: as it is
--       5 all: what follows is all of the node's, or ""  6 settle, or ""  7 how long a node is believed, ms  8 how many have come
--       9 how far the node's clock may be from the store's, µs
--       then three for each that has come: connection, age in ms, when it was opened by the node's clock, µs; then those that have left
-- Returns K connection ...  it is done; these are replaced
--         D                 too many, but a node has not been heard of for too long: let all tell what they have, then settle
if tonumber(ARGV[4]) > 0 then
  redis.call('SET', KEYS[3], '1', 'PX', ARGV[4])
end
local node, limit = ARGV[1], tonumber(ARGV[2])
if limit == 0 then
  return { 'K' }
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local micros = tonumber(time[1]) * 1000000 + tonumber(time[2])
local prefix = node .. ' '

-- Forgets the connections of a node, but for those in keep.
local function forget(name, keep)
  local left = 0
  for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    if string.sub(member, 1, #name + 1) == name .. ' ' then
      if keep and keep[member] then
        left = left + 1
      else
        redis.call('ZREM', KEYS[1], member)
      end
    end
  end
  return left
end

-- A full Redis refuses a script whose first write may need memory. Leaving must always work.
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local last = 9 + 3 * tonumber(ARGV[8])
local keep = {}
for i = 10, last, 3 do
  local member = prefix .. ARGV[i]
  keep[member] = true
  -- The age is a little too small by the time that the call took to come here: the node's clock is better, unless it is wrong.
  local opened, told = micros - tonumber(ARGV[i + 1]) * 1000, tonumber(ARGV[i + 2])
  if math.abs(opened - told) < tonumber(ARGV[9]) then
    opened = told
  end
  redis.call('ZADD', KEYS[1], 'NX', string.format('%.0f', opened), member)
end
for i = last + 1, #ARGV do
  redis.call('ZREM', KEYS[1], prefix .. ARGV[i])
end
if ARGV[5] == 'all' and forget(node, keep) == 0 then
  redis.call('HDEL', KEYS[2], node)
else
  redis.call('HSET', KEYS[2], node, string.format('%.0f', now))
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])

local over = redis.call('ZCARD', KEYS[1]) - limit
if over <= 0 then
  return { 'K' }
end
local heard = redis.call('HGETALL', KEYS[2])
for i = 1, #heard, 2 do
  if heard[i] ~= node and tonumber(heard[i + 1]) <= now - tonumber(ARGV[7]) then
    if ARGV[6] ~= 'settle' then
      return { 'D' }
    end
    forget(heard[i])
    redis.call('HDEL', KEYS[2], heard[i])
  end
end
over = redis.call('ZCARD', KEYS[1]) - limit
local reply = { 'K' }
if over > 0 then
  local oldest = redis.call('ZPOPMIN', KEYS[1], over)
  for i = 1, #oldest, 2 do
    reply[#reply + 1] = string.sub(oldest[i], string.find(oldest[i], ' ', 1, true) + 1)
  end
end
return reply
