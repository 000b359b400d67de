-- Lists the nodes with a lease; KEYS as in announce.lua.
--
-- ARGV  1 lease, ms
-- Returns three for each node: its name, how long ago it was heard of, ms, and its record
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local listed = {}
local seen = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now - tonumber(ARGV[1])), '+inf', 'WITHSCORES')
for i = 1, #seen, 2 do
  local record = redis.call('HGET', KEYS[2], seen[i])
  if record then
    listed[#listed + 1] = seen[i]
    listed[#listed + 1] = math.max(0, now - tonumber(seen[i + 1]))
    listed[#listed + 1] = record
  end
end
return listed
