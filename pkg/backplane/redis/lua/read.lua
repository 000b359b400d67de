-- Reads a part of a target's log together with where the log stands, in one atomic step.
--
-- ARGV  1 replication id  2 epoch for a new life  3 since  4 limit  5 "reverse" or ""  6 life of a log that was only read, ms
-- Returns epoch, newest offset, oldest offset (newest + 1: the log is empty), epoch and newest offset of the life before ("" and 0:
--         unknown), offset of the first entry, then the entries, oldest first, also with reverse.
--
-- A log that was never written to begins its life here, so that whoever joins an empty room can recover from its beginning.
local meta, newest = life(ARGV[1], ARGV[2], 'pe', 'po')
if newest == 0 then
  redis.call('HSET', KEYS[2], 'o', 0)
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
end
if meta[1] == ARGV[2] then
  meta = redis.call('HMGET', KEYS[2], 'e', 'r', 'o', 'pe', 'po') -- the life began just now
end
local oldest = newest - redis.call('LLEN', KEYS[1]) + 1
local since, limit = tonumber(ARGV[3]), tonumber(ARGV[4])
local first, last
if ARGV[5] == 'reverse' then
  last = newest
  if since > 0 then
    last = math.min(newest, since - 1)
  end
  first = math.max(oldest, last - limit + 1)
else
  first = math.max(oldest, since + 1)
  last = math.min(newest, first + limit - 1)
end
local reply = { meta[1], newest, oldest, meta[4] or '', tonumber(meta[5] or 0), first }
if first <= last then
  -- Counted from the end: -1 is the newest.
  for i, entry in ipairs(redis.call('LRANGE', KEYS[1], first - newest - 1, last - newest - 1)) do
    reply[6 + i] = entry
  end
end
return reply
