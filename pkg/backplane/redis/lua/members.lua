-- Lists users of a room in the order of their ids.
--
-- KEYS  1 here  2 more  3 nodes, as in roster.lua
-- ARGV  1 where to begin, as ZRANGEBYLEX takes it  2 the most to list
-- Returns how many users there are, then of each listed one the id and the number of connections
if redis.call('ZCOUNT', KEYS[3], string.format('(%.0f', now), '+inf') == 0 then
  return { 0 }
end
local users = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[1], '+', 'LIMIT', 0, ARGV[2])
local reply = { redis.call('ZCARD', KEYS[1]) }
if #users == 0 then
  return reply
end
local more = redis.call('HMGET', KEYS[2], unpack(users))
for i, user in ipairs(users) do
  reply[2 * i] = user
  reply[2 * i + 1] = 1 + tonumber(more[i] or 0)
end
return reply
