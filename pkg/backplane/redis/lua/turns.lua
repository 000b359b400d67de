-- Hands out turns in time, at a rate that all nodes share. The clock is the store's.
--
-- KEYS[1] next  when the next turn that is not taken begins, µs
-- KEYS[2] left  hash: by node, how many turns it needs, and when it said so, ms
-- ARGV  1 node  2 the most to take  3 how many the node needs  4 rate, a second  5 horizon, µs
-- Returns how many were taken, in how many µs the first of them, or else the next, begins, and how many all nodes needed before
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local rate, horizon = tonumber(ARGV[4]), tonumber(ARGV[5])
local first = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0))
if first > now + horizon + 2000000 then
  first = now -- nobody takes turns that late: the clock was set back
end
local taken = math.max(0, math.min(tonumber(ARGV[2]), math.ceil((now + horizon - first) * rate / 1000000)))
if taken > 0 then
  redis.call('SET', KEYS[1], string.format('%.0f', first + taken * 1000000 / rate), 'PX', 60000)
end
local needed = tonumber(ARGV[3])
if needed > 0 then
  redis.call('HSET', KEYS[2], ARGV[1], string.format('%d %.0f', needed, now / 1000))
  redis.call('PEXPIRE', KEYS[2], 60000)
else
  redis.call('HDEL', KEYS[2], ARGV[1])
end
local left = 0
local all = redis.call('HGETALL', KEYS[2])
for i = 2, #all, 2 do
  local need, told = string.match(all[i], '^(%d+) (%d+)$')
  if tonumber(told) > now / 1000 - 5000 then -- else it is done, or dead
    left = left + tonumber(need)
  end
end
return { taken, first - now, left }
