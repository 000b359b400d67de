-- Renews a node's lease.
--
-- KEYS  as in roster.lua
-- ARGV  1 node  2 the newest sequence that the node knows to be here  3 lease, ms
-- Returns G               as in assert.lua
--         K node ...      with up to four nodes whose lease has ended
if tonumber(redis.call('HGET', KEYS[4], ARGV[1]) or 0) < tonumber(ARGV[2]) then
  return 'G'
end
redis.call('PEXPIRE', KEYS[5], ARGV[3]) -- so that the lease is renewed in a full Redis too, see assert.lua
lease(ARGV[1], tonumber(ARGV[3]))
local lapsed = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', now), 'LIMIT', 0, 4)
return table.concat({ 'K', unpack(lapsed) }, ' ')
