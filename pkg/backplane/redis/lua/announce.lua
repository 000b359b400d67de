-- Keeps what a node tells of itself and renews its lease.
--
-- KEYS[1] seen     sorted set of the nodes, by when they were heard of last, ms
-- KEYS[2] records  hash: what each node tells of itself
-- ARGV  1 node  2 record  3 lease, ms  4 life of keys without a node, ms
-- Returns the number of nodes with a lease
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local ended = string.format('%.0f', now - tonumber(ARGV[3]))
redis.call('PEXPIRE', KEYS[1], ARGV[4]) -- first, so that nodes are known in a full Redis too, see assert.lua
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ended, 'LIMIT', 0, 100)) do
  redis.call('ZREM', KEYS[1], node)
  redis.call('HDEL', KEYS[2], node)
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return redis.call('ZCOUNT', KEYS[1], '(' .. ended, '+inf')
