-- Takes tokens from a user's bucket, also more than are there. The clock is the store's.
--
-- KEYS[1] rate  tokens and when they were counted, µs; it expires when the bucket is full
-- ARGV  1 how many  2 refilled a second  3 burst
-- Returns how many are left, as text
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local rate, burst = tonumber(ARGV[2]), tonumber(ARGV[3])
local tokens = burst
local before = redis.call('GET', KEYS[1])
if before then
  local counted, at = string.match(before, '^(%S+) (%d+)$')
  tokens = math.min(burst, tonumber(counted) + math.max(0, now - tonumber(at)) * rate / 1000000)
end
tokens = tokens - tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.3f %.0f', tokens, now), 'PX', math.ceil((burst - tokens) * 1000 / rate) + 1000)
return string.format('%.3f', tokens)
