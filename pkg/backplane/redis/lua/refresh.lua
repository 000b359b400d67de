-- Renews a node's lease.
--
-- KEYS  as in roster.lua
-- ARGV  1 node  2 the newest sequence that the node knows to be here  3 lease, ms  4 life of keys without a node, ms
-- Returns G               as in assert.lua
--         K node ...      with up to four nodes whose lease has ended; with none if the node's own had, since then it was the store
--                         that could not be reached, and the others are about to come back too
if tonumber(redis.call('HGET', KEYS[4], ARGV[1]) or 0) < tonumber(ARGV[2]) then
  return 'G'
end
local own = tonumber(redis.call('ZSCORE', KEYS[3], ARGV[1]) or 0)
redis.call('PEXPIRE', KEYS[5], ARGV[4]) -- so that the lease is renewed in a full Redis too, see assert.lua
lease(ARGV[1], tonumber(ARGV[3]), ARGV[4])
if own <= now then
  return 'K'
end
local lapsed = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', now), 'LIMIT', 0, 4)
return table.concat({ 'K', unpack(lapsed) }, ' ')
