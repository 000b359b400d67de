-- The shared beginning of the scripts that look at leases. The clock is the store's, since those of the nodes differ.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- Gives a node, with KEYS as in roster.lua, a lease from now on, and all keys time until the rubbish of a dead cluster goes.
local function lease(node, ms, keep)
  redis.call('ZADD', KEYS[3], string.format('%.0f', now + ms), node)
  for i = 1, 4 do
    redis.call('PEXPIRE', KEYS[i], keep)
  end
  redis.call('PEXPIRE', KEYS[5], 2 * keep)
end
